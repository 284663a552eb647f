/** The module in Node: read from the disk, and given the WebSocket that Node has only from version 22 on. */

import { readFile } from "node:fs/promises";

import type { Glue } from "./engine.js";

/** Makes the module from its file. */
export async function fromDisk(glue: Glue, file: URL): Promise<Glue> {
  if (!("WebSocket" in globalThis)) {
    const { WebSocket } = await import("ws");
    class Quiet extends WebSocket {
      constructor(address: string, protocols?: string | string[]) {
        super(address, protocols);
        // An error nobody listens for any more ends the process in Node; in browsers it is nothing.
        this.addEventListener("error", () => {});
      }
    }
    Object.assign(globalThis, { WebSocket: Quiet });
  }
  await glue.default({ module_or_path: await readFile(file) });
  return glue;
}

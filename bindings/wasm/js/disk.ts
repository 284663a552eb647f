/** The module in Node: read from the disk, and given the WebSocket that Node has only from version 22 on. */

import { readFile } from "node:fs/promises";

import type { Glue } from "./engine.js";

/** Makes the module from its file. */
export async function fromDisk(glue: Glue, file: URL): Promise<Glue> {
  if (!("WebSocket" in globalThis)) {
    const { WebSocket } = await import("ws");
    Object.assign(globalThis, { WebSocket });
  }
  await glue.default({ module_or_path: await readFile(file) });
  return glue;
}

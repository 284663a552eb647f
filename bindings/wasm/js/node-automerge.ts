/** Agents in Node, with the engine automerge. Exports what `automerge.ts` does. */

import * as glue from "../pkg/automerge/aepoch_wasm.js";
import { AgentBase, begin, type AgentOptions } from "./agent.js";
import { fromDisk } from "./disk.js";
import { Engine } from "./engine.js";

const here = new Engine(() => fromDisk(glue, new URL("../pkg/automerge/aepoch_wasm_bg.wasm", import.meta.url)));

/** One member of a swarm. */
export class Agent extends AgentBase {
  /** Opens an agent. Does not wait for connections: without any it works on its own replica. */
  static async open(options: AgentOptions): Promise<Agent> {
    return new Agent(await begin({ here }, { engine: "automerge", ...options }));
  }
}

export * from "./public.js";

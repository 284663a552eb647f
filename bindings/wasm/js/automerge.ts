/**
 * Shared state for swarms of agents, without a coordinator: agents in a browser, with the engine automerge.
 *
 * ```ts
 * const agent = await Agent.open({ name: "page-1", swarm: "band", connect: "ws://127.0.0.1:4433", store: true });
 * const stage = await agent.document("stage");
 * await stage.register("setlist").set(["intro", "outro"]);
 * await stage.flush();
 * ```
 *
 * @packageDocumentation
 */

import * as glue from "../pkg/automerge/aepoch_wasm.js";
import { AgentBase, begin, type AgentOptions, type Places } from "./agent.js";
import { Engine, type Glue } from "./engine.js";
import { WorkerPlace } from "./worker-place.js";

const load = async (): Promise<Glue> => {
  await glue.default({ module_or_path: new URL("../pkg/automerge/aepoch_wasm_bg.wasm", import.meta.url) });
  return glue;
};

const places: Places = {
  here: new Engine(load),
  worker: () =>
    new WorkerPlace(() => new Worker(new URL("./worker-automerge.js", import.meta.url), { type: "module" })),
};

/** One member of a swarm. */
export class Agent extends AgentBase {
  /** Opens an agent. Does not wait for connections: without any it works on its own replica. */
  static async open(options: AgentOptions): Promise<Agent> {
    return new Agent(await begin(places, { engine: "automerge", ...options }));
  }
}

export * from "./public.js";

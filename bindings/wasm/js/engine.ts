/** The module in this thread: loaded once, made anew after a panic. */

import { PanicError } from "./errors.js";
import { IndexedDbStore } from "./indexeddb.js";
import type { Json, RawAgent, RawOptions, RawStore } from "./raw.js";
import type { AgentEvent } from "./report.js";

/** How an agent is opened somewhere: a store by name is one of the browser's, opened over there. */
export type PlaceOptions = Omit<RawOptions, "store"> & { store?: string | RawStore };

/** Where agents run: this thread, or a Worker. */
export interface Place {
  open(options: PlaceOptions): Promise<RawAgent>;
  /** Hears of every panic: the agents opened before are of no use afterwards, {@link open} opens others. */
  onPanic(heard: (reason: string) => void): () => void;
  /** A call was seen to fail as only a module does that is of no use any more. */
  trapped(reason: string): void;
  /** The agent that runs here is closed. */
  close(): void;
}

/** What the build of the module exports. */
export interface Glue {
  default(options: { module_or_path: BufferSource | URL }): Promise<unknown>;
  open(options: Json, store?: RawStore): Promise<RawAgent>;
  onPanic(heard: (message: string) => void): void;
  /** Makes the module anew; what it gave out before is refused from then on. */
  __wbg_reset_state?(): void;
}

/** The module in this thread, shared by all agents here. */
export class Engine implements Place {
  readonly #load: () => Promise<Glue>;
  readonly #heard = new Set<(reason: string) => void>();
  #ready: Promise<Glue> | undefined;
  #hasPanicked = false;

  /** `load` gives the module, made once. */
  constructor(load: () => Promise<Glue>) {
    this.#load = load;
  }

  async open(options: PlaceOptions): Promise<RawAgent> {
    const { store, ...rest } = options;
    const glue = await (this.#ready ??= this.#start());
    const kept = typeof store === "string" ? await IndexedDbStore.open(store) : store;
    let agent: RawAgent;
    try {
      agent = await glue.open(JSON.stringify(rest), kept);
    } catch (thrown) {
      if (!(kept instanceof IndexedDbStore)) throw thrown;
      const trouble = kept.trouble;
      kept.close();
      throw trouble ?? thrown;
    }
    if (kept instanceof IndexedDbStore) tellOf(kept, agent);
    return agent;
  }

  onPanic(heard: (reason: string) => void): () => void {
    this.#heard.add(heard);
    return () => this.#heard.delete(heard);
  }

  trapped(reason: string): void {
    if (this.#hasPanicked) return;
    this.#hasPanicked = true;
    this.#ready = undefined;
    for (const heard of [...this.#heard]) heard(reason);
  }

  close(): void {}

  async #start(): Promise<Glue> {
    const glue = await this.#load();
    if (this.#hasPanicked) {
      if (!glue.__wbg_reset_state) throw new PanicError("Panic", "the module has failed and cannot be made anew");
      glue.__wbg_reset_state();
      this.#hasPanicked = false;
    }
    glue.onPanic((message) => this.trapped(message));
    return glue;
  }
}

/** Makes an agent's events and waits tell of what happens to its store. */
function tellOf(store: IndexedDbStore, agent: RawAgent): void {
  const { events, persisted, flush, close } = agent;
  agent.events = (heard) => {
    const left = store.onTrouble((code, reason) => {
      const event: AgentEvent = { kind: "storage", code, reason };
      heard(JSON.stringify(event));
    });
    const hearing = events.call(agent, heard);
    const stop = async (): Promise<void> => {
      left();
      await (await hearing).stop();
    };
    return { stop };
  };
  // The module tries again for as long as it takes; whoever waits is told at once.
  agent.persisted = (abort) => store.unlessItFails(persisted.call(agent, abort));
  agent.flush = (abort) => store.unlessItFails(flush.call(agent, abort));
  agent.close = async () => {
    try {
      await close.call(agent);
    } finally {
      store.close();
    }
  };
}

/** A Worker as the place where an agent runs, as the page sees it. */

import type { Place, PlaceOptions } from "./engine.js";
import { PanicError } from "./errors.js";
import { Port, type Message } from "./port.js";
import type { RawAgent } from "./raw.js";

/** What a Worker offers at first: see {@link RawModule}. */
export interface WorkerRoot {
  open(options: PlaceOptions): Promise<RawAgent>;
  onPanic(heard: (reason: string) => void): Promise<void>;
}

/** A Worker with one agent; after a panic, another Worker. */
export class WorkerPlace implements Place {
  readonly #make: () => Worker;
  readonly #heard = new Set<(reason: string) => void>();
  #at: { worker: Worker; port: Port } | undefined;

  constructor(make: () => Worker) {
    this.#make = make;
  }

  open(options: PlaceOptions): Promise<RawAgent> {
    const worker = this.#make();
    const port = new Port((message) => worker.postMessage(message));
    worker.onmessage = (event: MessageEvent<Message>) => port.hear(event.data);
    const failed = (reason: string): void => {
      if (this.#at?.worker === worker) this.trapped(reason);
    };
    worker.onerror = (event) => failed(event.message || "its Worker could not be started");
    this.#at = { worker, port };
    const root = port.root<WorkerRoot>();
    root.onPanic(failed).catch(() => {});
    return root.open(options);
  }

  onPanic(heard: (reason: string) => void): () => void {
    this.#heard.add(heard);
    return () => this.#heard.delete(heard);
  }

  trapped(reason: string): void {
    this.close(reason);
    for (const heard of [...this.#heard]) heard(reason);
  }

  close(reason = "its Worker was ended"): void {
    const at = this.#at;
    this.#at = undefined;
    at?.worker.terminate();
    at?.port.end(() => new PanicError("Panic", `the module has failed: ${reason}`));
  }
}

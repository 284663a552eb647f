/** Where an agent's lives come from when nobody shares it: a place that opens it, again after each panic. */

import type { Place, PlaceOptions } from "./engine.js";
import { ClosedError, PanicError, toError, type AepochError } from "./errors.js";
import { Life, type Lives } from "./recovery.js";

/** What begins an agent's lives, and ends them. */
export interface Source {
  /** Resolves when the first life has begun. */
  begin(): Promise<void>;
  /** The credential was renewed: later lives show the newer one. */
  renewed(token: string): void;
  /** Ends the present life in order: what it has written is handed over first. */
  close(): Promise<void>;
}

/** Panics within {@link CALM} ms of each other before an agent is given up: what fails each time would go on for ever. */
const PANICS_MAX = 5;
/** How long an agent has to live, in milliseconds, for earlier panics not to count. */
const CALM = 60_000;

/** An agent of this page alone. */
export class LocalSource implements Source {
  readonly #place: Place;
  readonly #options: PlaceOptions;
  readonly #lives: Lives;
  readonly #begun: (life: Life) => void;
  readonly #leave: () => void;
  #panics: number[] = [];
  #opening: Promise<void> | undefined;
  #isClosed = false;

  /** `begun` hears of every life, before anybody can call into it. */
  constructor(place: Place, options: PlaceOptions, lives: Lives, begun: (life: Life) => void = () => {}) {
    this.#place = place;
    this.#options = options;
    this.#lives = lives;
    this.#begun = begun;
    this.#leave = place.onPanic((reason) => this.#panicked(reason));
  }

  async begin(): Promise<void> {
    try {
      await (this.#opening = this.#open());
    } catch (thrown) {
      this.#leave();
      this.#place.close();
      throw toError(thrown);
    }
  }

  async #open(): Promise<void> {
    const panic = new Promise<never>((_, reject) => {
      const leave = this.#place.onPanic((reason) => {
        leave();
        reject(panicked(reason));
      });
    });
    panic.catch(() => {});
    const agent = await Promise.race([this.#place.open(this.#options), panic]);
    if (this.#isClosed) return agent.close();
    const life = new Life(agent, (reason) => this.#place.trapped(reason));
    this.#begun(life);
    this.#lives.begin(life);
  }

  #panicked(reason: string): void {
    if (!this.#lives.current || this.#isClosed) return;
    this.#lives.end(panicked(reason));
    const now = Date.now();
    this.#panics = [...this.#panics.filter((at) => now - at < CALM), now];
    if (this.#panics.length > PANICS_MAX) return this.#giveUp(panicked(reason));
    this.#opening = this.#open().catch((thrown: unknown) => this.#giveUp(toError(thrown)));
  }

  #giveUp(error: AepochError): void {
    this.#leave();
    this.#place.close();
    this.#lives.close(error);
  }

  renewed(token: string): void {
    if (this.#options.credential) this.#options.credential.token = token;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const life = this.#lives.current;
    try {
      await this.#opening?.catch(() => {});
      if (life) await life.guard(life.agent.close());
    } finally {
      this.#leave();
      this.#lives.close(new ClosedError("Closed", "the agent has been closed"));
      this.#place.close();
    }
  }
}

const panicked = (reason: string): PanicError => new PanicError("Panic", `the module has failed: ${reason}`);

/** Queues of work, and the items of them that this agent works on. */

import { abortable, type Waiting } from "./abort.js";
import { CoordinationObject, decidingSettings, tierNumber, type DecidingSettings, type Tier } from "./coordination.js";
import { ClosedError, InterruptedError } from "./errors.js";
import { decode, encode } from "./json.js";
import type { RawClaim, RawQueue, RawSettings } from "./raw.js";
import type { Arguments, Life, Result } from "./recovery.js";
import type { ItemView, QueueStatus } from "./report.js";

/** Settings of a queue. */
export interface QueueSettings extends DecidingSettings {
  /** Who pushes and claims; unless set, whoever is in the swarm when it begins. */
  members?: readonly string[];
  /** Milliseconds a claim holds without renewal; 30,000 unless set. */
  lease?: number;
  /** How many holders an item may have before it is dead; 5 unless set. */
  attempts?: number;
  /** Milliseconds within which items are ordered by tier and deadline; 1,000 unless set. */
  bucket?: number;
}

/** @internal */
export function queueSettings(settings: QueueSettings): RawSettings {
  const { members = [], lease, attempts, bucket } = settings;
  return {
    ...decidingSettings(settings),
    members: members.map((agent) => [0, agent]),
    ...(lease === undefined ? {} : { lease }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(bucket === undefined ? {} : { bucket }),
  };
}

/** How an item is pushed. */
export interface Pushing {
  /** Its priority; alpha unless set. */
  tier?: Tier;
  /** When it should be done: earlier ones come first within their tier. */
  deadline?: Date;
}

/**
 * A queue of `T`. All agents see the same items in the same order. An exclusive claim has one holder per token, tokens
 * grow with every holder, and one holder completes.
 */
export class Queue<T> extends CoordinationObject<RawQueue> {
  /** Pushes what is to be done: the item's number, once it is durable here. */
  async push(payload: T, pushing: Pushing = {}): Promise<string> {
    const { tier = 0, deadline } = pushing;
    return this.handle.call("push", encode(payload), tierNumber(tier), deadline?.getTime());
  }

  /**
   * Waits for an item and takes it: alone (`exclusive`), or as one of several who may (`advisory`). An item that was
   * taken while the wait was given up goes back at once.
   */
  async claim(claiming: "exclusive" | "advisory" = "exclusive", waiting?: Waiting): Promise<Task<T>> {
    let isWanted = true;
    const claimed = async (abort: Promise<unknown> | undefined): Promise<Task<T>> => {
      const raw = await this.handle.call("claim", claiming, abort);
      const life = this.handle.lives.current;
      if (!life) throw new InterruptedError("Interrupted", "the item went back: the tab that took it is gone");
      try {
        if (!isWanted) throw new ClosedError("Closed", "nobody waits for it any more");
        const of = <M extends "item" | "token" | "payload">(
          method: M,
        ): Result<RawClaim, M> | Promise<Result<RawClaim, M>> =>
          life.invoke(raw, method, [] as unknown as Arguments<RawClaim, M>);
        const [item, token, payload] = await Promise.all([of("item"), of("token"), of("payload")]);
        if (!isWanted) throw new ClosedError("Closed", "nobody waits for it any more");
        return new Task<T>(life, raw, item, token, decode<T>(payload));
      } catch (thrown) {
        giveBack(life, raw);
        throw thrown;
      }
    };
    try {
      return await abortable(waiting, claimed);
    } catch (thrown) {
      isWanted = false;
      throw thrown;
    }
  }

  /** All items in order, then the dead ones. */
  async items(): Promise<ItemView[]> {
    return decode(await this.handle.call("items"));
  }

  /** Counts, and who holds sealing up. */
  async queueStatus(): Promise<QueueStatus> {
    return decode(await this.handle.call("queueStatus"));
  }

  /** Offers a dead item again, with all attempts before it. */
  requeue(item: string): Promise<void> {
    return this.handle.call("requeue", item);
  }

  /** Gives an item up for good. */
  discard(item: string): Promise<void> {
    return this.handle.call("discard", item);
  }
}

function giveBack(life: Life, raw: RawClaim): void {
  if (life.ended) return;
  void (async () => raw.free())().catch(() => {});
}

/**
 * An item this agent has claimed. Its lease is renewed for as long as this is held; let go of without
 * {@link complete}, as `await using` does, it goes back.
 *
 * Renewal keeps others from taking over; it proves nothing to the outside. What the work does elsewhere has to carry
 * {@link token} to a place that refuses lower ones. A task does not survive the module or the tab that runs the agent:
 * the item goes back, and `isHeld` says so.
 */
export class Task<T> {
  /** Which item it is. */
  readonly item: string;
  /** What fences its effects: higher for every later holder. 0 for an advisory claim. */
  readonly token: number;
  /** What is to be done. */
  readonly payload: T;
  readonly #life: Life;
  #raw: RawClaim | undefined;

  /** @internal */
  constructor(life: Life, raw: RawClaim, item: string, token: number, payload: T) {
    this.#life = life;
    this.#raw = raw;
    this.item = item;
    this.token = token;
    this.payload = payload;
  }

  /** True while this agent may count on its lease. An observation, out of date as soon as it is made. */
  async isHeld(): Promise<boolean> {
    return this.#raw !== undefined && !this.#life.ended && this.#life.invoke(this.#raw, "isHeld", []);
  }

  /** Declares the item done, once and for all. Fails when somebody else holds it by now. */
  async complete(): Promise<void> {
    const raw = this.#take();
    try {
      await this.#life.invoke(raw, "complete", []);
    } finally {
      giveBack(this.#life, raw);
    }
  }

  /** Gives it back as failed, with a reason for whoever looks at it. */
  async fail(reason: string): Promise<void> {
    const raw = this.#take();
    try {
      await this.#life.invoke(raw, "fail", [reason]);
    } finally {
      giveBack(this.#life, raw);
    }
  }

  /** Gives it back. */
  close(): void {
    const raw = this.#raw;
    this.#raw = undefined;
    if (raw) giveBack(this.#life, raw);
  }

  #take(): RawClaim {
    const raw = this.#raw;
    this.#raw = undefined;
    if (!raw) throw new ClosedError("Closed", "the item is done or given back");
    if (this.#life.ended) throw this.#life.ended;
    return raw;
  }

  /** {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

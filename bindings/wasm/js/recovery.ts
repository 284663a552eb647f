/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Lives: an agent survives the module that runs it.
 *
 * When the module panics, or the tab that runs it goes away, the agent has a next life, opened on the same store. What
 * applications hold are handles; they open anew in each life, so that nobody outside sees more than a failed call.
 */

import "./dispose.js";
import { invoke } from "./call.js";
import { ClosedError, InterruptedError, isTrap, toError, type AepochError } from "./errors.js";
import { traitsOf } from "./methods.js";
import type { Answer, RawAgent, RawHearing } from "./raw.js";

/** The arguments of a method of the module. */
export type Arguments<R, M extends keyof R> = R[M] extends (...args: infer A) => unknown ? A : never;
/** What it answers. */
export type Result<R, M extends keyof R> = R[M] extends (...args: never[]) => infer T ? Awaited<T> : never;

/** One life of an agent. */
export class Life {
  readonly agent: RawAgent;
  /** Why it is over. */
  ended: AepochError | undefined;
  /** Hears of its end. */
  onEnd: ((reason: AepochError) => void) | undefined;
  readonly #trapped: ((reason: string) => void) | undefined;
  readonly #pending = new Set<(reason: AepochError) => void>();

  /** `trapped` hears that the module has failed; without it calls settle by themselves when the life ends. */
  constructor(agent: RawAgent, trapped?: (reason: string) => void) {
    this.agent = agent;
    this.#trapped = trapped;
  }

  /** Calls a method of the module. */
  invoke<R extends object, M extends keyof R>(raw: R, method: M, args: Arguments<R, M>): Answer<Result<R, M>> {
    try {
      const answer = invoke(raw, method, args) as Answer<Result<R, M>>;
      return answer instanceof Promise ? this.guard(answer) : answer;
    } catch (thrown) {
      if (isTrap(thrown)) this.trap(String(thrown));
      throw this.ended ?? toError(thrown);
    }
  }

  /** An answer, unless the life ends before: a module that has failed answers nobody. */
  guard<T>(answer: Promise<T>): Promise<T> {
    if (!this.#trapped) return answer;
    if (this.ended) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      const over = (): boolean => this.#pending.delete(reject);
      answer.then(
        (value) => over() && resolve(value),
        (thrown: unknown) => over() && reject(toError(thrown)),
      );
    });
  }

  /** The module has failed. */
  trap(reason: string): void {
    this.#trapped?.(reason);
  }

  /** Ends it, and whatever waits for it. */
  end(reason: AepochError): void {
    if (this.ended) return;
    this.ended = reason;
    this.onEnd?.(reason);
    for (const reject of this.#pending) reject(this.ended);
    this.#pending.clear();
  }
}

/** The lives of an agent, one after another. */
export class Lives {
  /** The present one; none between two. */
  current: Life | undefined;
  #over: AepochError | undefined;
  #waiting: { resolve: (life: Life) => void; reject: (reason: AepochError) => void }[] = [];
  readonly #heard = new Set<(life: Life | undefined) => void>();

  /** A life begins. */
  begin(life: Life): void {
    if (this.#over) return;
    this.current = life;
    for (const waiting of this.#waiting.splice(0)) waiting.resolve(life);
    for (const heard of [...this.#heard]) heard(life);
  }

  /** The present life is over; another one follows. */
  end(reason: AepochError): void {
    const life = this.current;
    this.current = undefined;
    life?.end(reason);
  }

  /** No life follows. */
  close(reason: AepochError): void {
    if (this.#over) return;
    this.#over = reason;
    this.end(reason);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(reason);
    for (const heard of [...this.#heard]) heard(undefined);
    this.#heard.clear();
  }

  /** Why there is no life any more. */
  get over(): AepochError | undefined {
    return this.#over;
  }

  /** The present life, or the next one. */
  next(): Life | Promise<Life> {
    if (this.#over) return Promise.reject(this.#over);
    if (this.current) return this.current;
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Hears of every life from the next one on, and of the end (`undefined`). */
  each(heard: (life: Life | undefined) => void): () => void {
    this.#heard.add(heard);
    return () => this.#heard.delete(heard);
  }
}

/** Something of the module that is opened anew in each life. */
export class Handle<R extends object> {
  readonly lives: Lives;
  readonly #open: (life: Life) => Answer<R>;
  /** What is open, and in which life. */
  #at: { life: Life; raw: R } | undefined;
  #opening: { life: Life; raw: Promise<R> } | undefined;
  /** Calls that wait until it is open: later ones come after them. */
  #waiting = 0;
  #calls = 0;
  #closed = false;

  constructor(lives: Lives, open: (life: Life) => Answer<R>) {
    this.lives = lives;
    this.#open = open;
  }

  /** Calls a method, again in the next life when that does no harm. */
  call<M extends keyof R>(method: M, ...args: Arguments<R, M>): Promise<Result<R, M>> {
    const at = this.#at;
    if (this.#closed) return Promise.reject(closed());
    if (!at || at.life !== this.lives.current || this.#waiting > 0) return this.#later(method, args);
    try {
      const answer = at.life.invoke(at.raw, method, args);
      if (!(answer instanceof Promise)) return Promise.resolve(answer);
      this.#calls++;
      return answer.then(
        (value) => {
          this.#called();
          return value;
        },
        (thrown: unknown) => {
          this.#called();
          if (!isRepeatable(thrown, method)) throw thrown;
          return this.#later(method, args);
        },
      );
    } catch (thrown) {
      return Promise.reject(toError(thrown));
    }
  }

  async #later<M extends keyof R>(method: M, args: Arguments<R, M>): Promise<Result<R, M>> {
    this.#waiting++;
    this.#calls++;
    let waits = true;
    try {
      for (;;) {
        try {
          const [life, raw] = await this.open();
          if (waits) this.#waiting--;
          waits = false;
          return await life.invoke(raw, method, args);
        } catch (thrown) {
          if (!isRepeatable(thrown, method)) throw toError(thrown);
        }
      }
    } finally {
      if (waits) this.#waiting--;
      this.#called();
    }
  }

  /** Opens it in the present life, unless it is open. */
  async open(): Promise<[Life, R]> {
    if (this.#closed) throw closed();
    const life = await this.lives.next();
    if (this.#at?.life === life) return [life, this.#at.raw];
    if (this.#opening?.life !== life) {
      const raw = (async () => life.guard(Promise.resolve(this.#open(life))))();
      this.#opening = { life, raw };
      raw.then(
        (raw) => (this.#at = { life, raw }),
        () => (this.#opening = undefined),
      );
    }
    const raw = await this.#opening!.raw;
    return [life, raw];
  }

  /** Closes it, once the calls under way are done. */
  close(): void {
    this.#closed = true;
    if (this.#calls === 0) this.#free();
  }

  #called(): void {
    this.#calls--;
    if (this.#closed && this.#calls === 0) this.#free();
  }

  #free(): void {
    const at = this.#at;
    this.#at = undefined;
    if (!at || at.life.ended || !("free" in at.raw)) return;
    void Promise.resolve((at.raw.free as () => Answer<void>)()).catch(() => {});
  }
}

const closed = (): ClosedError => new ClosedError("Closed", "this has been closed");

function isRepeatable(thrown: unknown, method: PropertyKey): boolean {
  return thrown instanceof InterruptedError && !(thrown.begun && traitsOf(method).once);
}

/** How many unheard items are kept for whoever is slow, before some are missed. */
const KEPT = 4_096;

/**
 * What is heard from now on, over all lives: item by item with `for await`, or by a callback. It ends when it is
 * stopped, when its signal aborts, or when the agent closes.
 */
export class Hearing<T> implements AsyncIterableIterator<T> {
  readonly #missed: T;
  readonly #heard: ((item: T) => void) | undefined;
  readonly #queue: T[] = [];
  #wanted: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (reason: unknown) => void }[] = [];
  #failure: AepochError | undefined;
  #ended = false;
  /** Which start this is: what an earlier one says does not count. */
  #turn = 0;
  #raw: RawHearing | undefined;
  readonly #leave: () => void;

  /** @internal */
  constructor(
    lives: Lives,
    start: (heard: (item: T) => void) => Promise<RawHearing>,
    missed: T,
    heard?: (item: T) => void,
    signal?: AbortSignal,
  ) {
    this.#missed = missed;
    this.#heard = heard;
    const begin = (): void => {
      const turn = ++this.#turn;
      this.#raw = undefined;
      const begun = (raw: RawHearing): void => {
        if (turn === this.#turn && !this.#ended) this.#raw = raw;
        else quietly(raw);
      };
      const failed = (thrown: unknown): void => {
        const error = toError(thrown);
        // After a panic the next life starts it again.
        if (turn === this.#turn && error.code !== "Panic") this.#end(error);
      };
      start((item) => turn === this.#turn && this.#put(item)).then(begun, failed);
    };
    const left = lives.each((life) => {
      if (!life) return this.#end(lives.over?.code === "Closed" ? undefined : lives.over);
      this.#put(this.#missed);
      begin();
    });
    const stop = (): void => this.stop();
    signal?.addEventListener("abort", stop);
    this.#leave = () => {
      left();
      signal?.removeEventListener("abort", stop);
    };
    if (signal?.aborted) this.#end();
    else begin();
  }

  #put(item: T): void {
    if (this.#ended) return;
    if (this.#heard) return tell(this.#heard, item);
    const wanted = this.#wanted.shift();
    if (wanted) return wanted.resolve({ value: item, done: false });
    if (this.#queue.length >= KEPT) this.#queue.splice(0, Infinity, this.#missed);
    this.#queue.push(item);
  }

  #end(failure?: AepochError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#leave();
    if (this.#raw) quietly(this.#raw);
    // Told once: to whoever waits, or else to whoever asks next.
    if (failure && this.#wanted.length > 0) this.#wanted.shift()?.reject(failure);
    else this.#failure = failure;
    for (const wanted of this.#wanted.splice(0)) wanted.resolve({ value: undefined, done: true });
  }

  /** The next item. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#queue.shift() as T, done: false });
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) return Promise.reject(failure);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#wanted.push({ resolve, reject }));
  }

  /** Ends it; what was heard and not yet taken is dropped. */
  stop(): void {
    this.#queue.length = 0;
    this.#end();
  }

  /** Ends it, as `for await` does when it is left. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.stop();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** {@link stop}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }
}

/** Stops a hearing of a life that may be over. */
function quietly(raw: RawHearing): void {
  void (async () => raw.stop())().catch(() => {});
}

/** Calls an application's function; what it throws is reported as of its own, not passed into the module. */
export function tell<T>(heard: (item: T) => void, item: T): void {
  try {
    heard(item);
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}

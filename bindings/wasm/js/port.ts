/**
 * The module at the other end of a channel: in a Worker, in another tab.
 *
 * The calling end has objects that look like the module's, whose methods all answer with promises. An object goes by the
 * number of the call that opened it. A callback and a wait that can be given up belong to the call they came with.
 */

import { invoke } from "./call.js";
import { ClosedError, errorOf, toError, type AepochError } from "./errors.js";
import { traitsOf } from "./methods.js";

/** What goes over a channel. */
export type Message =
  /** `heard` and `abort`: which argument is a callback, and which ends the wait. */
  | { kind: "call"; id: number; on: number; method: string; args: unknown[]; heard?: number; abort?: number }
  | { kind: "abort"; id: number }
  /** A call that must not be made twice has come. */
  | { kind: "took"; id: number }
  | { kind: "heard"; id: number; values: unknown[] }
  | { kind: "answer"; id: number; value?: unknown }
  | { kind: "failure"; id: number; code: string; message: string };

/** The object every channel begins with. */
const ROOT = 0;

interface Call {
  method: string;
  resolve: (value: unknown) => void;
  reject: (reason: AepochError) => void;
  isTaken: boolean;
}

/** The end that calls. */
export class Port {
  readonly #post: (message: Message) => void;
  readonly #calls = new Map<number, Call>();
  readonly #heard = new Map<number, (...values: unknown[]) => void>();
  /** Objects the application has forgotten are freed at the other end. */
  readonly #forgotten = new FinalizationRegistry<number>((id) => void this.#call(id, "free", []).catch(() => {}));
  #last = ROOT;
  #ended: AepochError | undefined;

  constructor(post: (message: Message) => void) {
    this.#post = post;
  }

  /** The object at the other end that the channel begins with. */
  root<R extends object>(): R {
    return this.#object(ROOT) as R;
  }

  #object(id: number): object {
    const methods = new Map<PropertyKey, (...args: unknown[]) => Promise<unknown>>();
    return new Proxy(methods, {
      // Every method is taken to be there, except the one by which promises are known.
      has: (_, method) => method !== "then",
      get: (methods, method) => {
        if (typeof method !== "string" || method === "then") return undefined;
        let call = methods.get(method);
        if (!call) methods.set(method, (call = (...args) => this.#call(id, method, args)));
        return call;
      },
      set: (methods, method, call: (...args: unknown[]) => Promise<unknown>) => !!methods.set(method, call),
    });
  }

  #call(on: number, method: string, args: unknown[]): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#last;
    const message: Message = {
      kind: "call",
      id,
      on,
      method,
      args: args.map((value) => (isPlain(value) ? value : null)),
    };
    const heard = args.findIndex((value) => typeof value === "function");
    const abort = args.findIndex((value) => value instanceof Promise);
    if (heard >= 0) {
      message.heard = heard;
      this.#heard.set(id, args[heard] as (...values: unknown[]) => void);
    }
    if (abort >= 0) {
      message.abort = abort;
      const aborted = (): void => {
        if (this.#calls.has(id)) this.#post({ kind: "abort", id });
      };
      (args[abort] as Promise<unknown>).then(aborted, aborted);
    }
    if (traitsOf(method).ends) this.#heard.delete(on);
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { method, resolve, reject, isTaken: false }));
    try {
      this.#post(message);
    } catch (thrown) {
      this.#calls.delete(id);
      return Promise.reject(toError(thrown));
    }
    return answer;
  }

  /** Takes in what the other end says. */
  hear(message: Message): void {
    if (message.kind === "heard") return this.#heard.get(message.id)?.(...message.values);
    const call = this.#calls.get(message.id);
    if (!call) return;
    if (message.kind === "took") {
      call.isTaken = true;
      return;
    }
    this.#calls.delete(message.id);
    if (message.kind === "failure") {
      this.#heard.delete(message.id);
      return call.reject(errorOf(message.code, message.message));
    }
    if (message.kind !== "answer") return;
    if (!traitsOf(call.method).opens) return call.resolve(message.value);
    const object = this.#object(message.id);
    this.#forgotten.register(object, message.id);
    call.resolve(object);
  }

  /** The other end is gone: every call fails, with a reason that may depend on whether it had been taken. */
  end(reason: (isTaken: boolean) => AepochError): void {
    this.#ended ??= reason(false);
    for (const call of this.#calls.values()) call.reject(reason(call.isTaken));
    this.#calls.clear();
    this.#heard.clear();
  }
}

const isPlain = (value: unknown): boolean => typeof value !== "function" && !(value instanceof Promise);

/** What the answering end may be told beside its object. */
export interface Serving {
  /** What an answer waits for, once the method has been carried out. */
  settle?: (method: string) => Promise<unknown> | undefined;
  /** Sees what a call has thrown. */
  failed?: (thrown: unknown) => void;
}

/** The end that answers. */
export class Service {
  readonly #post: (message: Message) => void;
  readonly #serving: Serving;
  readonly #objects = new Map<number, object>();
  readonly #aborts = new Map<number, () => void>();
  #isOver = false;

  constructor(root: object, post: (message: Message) => void, serving: Serving = {}) {
    this.#objects.set(ROOT, root);
    this.#post = (message) => {
      if (!this.#isOver) post(message);
    };
    this.#serving = serving;
  }

  /** Takes in what the other end says. */
  hear(message: Message): void {
    if (this.#isOver) return;
    if (message.kind === "abort") return this.#aborts.get(message.id)?.();
    if (message.kind !== "call") return;
    const { id, on, method, args } = message;
    const object = this.#objects.get(on);
    if (!object) return this.#fail(id, new ClosedError("Closed", "this has been closed"));
    if (traitsOf(method).once) this.#post({ kind: "took", id });
    if (message.heard !== undefined)
      args[message.heard] = (...values: unknown[]) => this.#post({ kind: "heard", id, values });
    const wait = message.abort ?? traitsOf(method).waits;
    if (wait !== undefined) args[wait] = new Promise<void>((abort) => this.#aborts.set(id, abort));
    if (traitsOf(method).ends) this.#objects.delete(on);
    try {
      const answer = invoke(object, method, args);
      const settle = answer instanceof Promise ? undefined : this.#serving.settle?.(method);
      if (!settle && !(answer instanceof Promise)) return this.#answer(id, method, answer);
      const settled = async (): Promise<unknown> => {
        const value: unknown = await answer;
        await (settle ?? this.#serving.settle?.(method));
        return value;
      };
      settled().then(
        (value) => this.#answer(id, method, value),
        (thrown: unknown) => this.#fail(id, thrown),
      );
    } catch (thrown) {
      this.#fail(id, thrown);
    }
  }

  #answer(id: number, method: string, value: unknown): void {
    this.#aborts.delete(id);
    if (!traitsOf(method).opens) return this.#post({ kind: "answer", id, value });
    if (this.#isOver) return release(value as object);
    this.#objects.set(id, value as object);
    this.#post({ kind: "answer", id });
  }

  #fail(id: number, thrown: unknown): void {
    this.#aborts.delete(id);
    this.#serving.failed?.(thrown);
    const { code, message } = toError(thrown);
    this.#post({ kind: "failure", id, code, message });
  }

  /** The other end is gone: what it held is let go of, claimed items go back. */
  end(): void {
    this.#isOver = true;
    for (const abort of this.#aborts.values()) abort();
    this.#aborts.clear();
    this.#objects.delete(ROOT);
    for (const object of this.#objects.values()) release(object);
    this.#objects.clear();
  }
}

function release(object: object): void {
  const { free, stop } = object as { free?: () => unknown; stop?: () => unknown };
  void (async () => {
    await stop?.call(object);
    await free?.call(object);
  })().catch(() => {});
}

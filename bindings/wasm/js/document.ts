/** A document: handles on its parts, changes, observation, presence, and what agents wait for in it. */

import { abortable, type Waiting } from "./abort.js";
import {
  AgentState,
  Counter,
  Register,
  SharedList,
  SharedMap,
  SharedSet,
  SharedText,
  type Access,
  type Write,
} from "./content.js";
import {
  Barrier,
  Decision,
  Epoch,
  Poll,
  barrierSettings,
  decisionSettings,
  epochSettings,
  pollSettings,
} from "./coordination.js";
import type { BarrierSettings, DecisionSettings, EpochSettings, PollSettings } from "./coordination.js";
import { decode, encode, type Value } from "./json.js";
import { Queue, queueSettings, type QueueSettings } from "./queue.js";
import type { RawDocument } from "./raw.js";
import { Handle, Hearing } from "./recovery.js";
import type { Changes, DocumentStatus, Member, ObjectStatus, Patch, PresenceEntry } from "./report.js";

/**
 * What a document holds, by name, for those who want their documents typed:
 * `agent.document<{ registers: { setlist: string[] }; maps: { lights: string } }>("stage")`.
 * Names not in it are of any type.
 */
export interface Shape {
  registers?: object;
  maps?: object;
  sets?: object;
  lists?: object;
  queues?: object;
  /** The ephemeral state of each agent. */
  presence?: unknown;
}

/** The names of a kind in a shape. */
export type Names<S extends Shape, K extends keyof Shape> = keyof NonNullable<S[K]> & string;
/** The type under a name of a kind. */
export type Of<S extends Shape, K extends keyof Shape, N> = N extends keyof NonNullable<S[K]>
  ? NonNullable<S[K]>[N]
  : never;
/** The type of presence. */
export type PresenceOf<S extends Shape> = unknown extends S["presence"] ? Value : NonNullable<S["presence"]>;

/** Handles by name. */
class Parts<S extends Shape> {
  /** @internal */
  protected readonly at: Access;

  /** @internal */
  constructor(at: Access) {
    this.at = at;
  }

  /** A value with several writers. */
  register<N extends Names<S, "registers">>(name: N): Register<Of<S, "registers", N>>;
  register<T = Value>(name: string): Register<T>;
  register(name: string): Register<unknown> {
    return new Register(this.at, name);
  }

  /** A sum to which all replicas add. */
  counter(name: string): Counter {
    return new Counter(this.at, name);
  }

  /** A map of the content. */
  map<N extends Names<S, "maps">>(name: N): SharedMap<Of<S, "maps", N>>;
  map<T = Value>(name: string): SharedMap<T>;
  map(name: string): SharedMap<unknown> {
    return new SharedMap(this.at, name);
  }

  /** A set of the content. */
  set<N extends Names<S, "sets">>(name: N): SharedSet<Of<S, "sets", N>>;
  set<T = Value>(name: string): SharedSet<T>;
  set(name: string): SharedSet<unknown> {
    return new SharedSet(this.at, name);
  }

  /** A list of the content. */
  list<N extends Names<S, "lists">>(name: N): SharedList<Of<S, "lists", N>>;
  list<T = Value>(name: string): SharedList<T>;
  list(name: string): SharedList<unknown> {
    return new SharedList(this.at, name);
  }

  /** A text of the content. */
  text(name: string): SharedText {
    return new SharedText(this.at, name);
  }
}

/** The methods of a handle that change something; collected, they have no answer. */
type Collected<H, M extends keyof H> = {
  [K in M]: H[K] extends (...args: infer A) => unknown ? (...args: A) => void : never;
};

/** Changes that become visible together. Nothing is read in a transaction. */
export interface Transaction<S extends Shape = Shape> {
  /** A value with several writers. */
  register<N extends Names<S, "registers">>(name: N): Collected<Register<Of<S, "registers", N>>, "set" | "clear">;
  /** The same, under a name outside the shape. */
  register<T = Value>(name: string): Collected<Register<T>, "set" | "clear">;
  /** A sum to which all replicas add. */
  counter(name: string): Collected<Counter, "add">;
  /** A map of the content. */
  map<N extends Names<S, "maps">>(name: N): Collected<SharedMap<Of<S, "maps", N>>, "put" | "remove">;
  /** The same, under a name outside the shape. */
  map<T = Value>(name: string): Collected<SharedMap<T>, "put" | "remove">;
  /** A set of the content. */
  set<N extends Names<S, "sets">>(name: N): Collected<SharedSet<Of<S, "sets", N>>, "insert" | "remove">;
  /** The same, under a name outside the shape. */
  set<T = Value>(name: string): Collected<SharedSet<T>, "insert" | "remove">;
  /** A list of the content. */
  list<N extends Names<S, "lists">>(name: N): Collected<SharedList<Of<S, "lists", N>>, "insert" | "push" | "remove">;
  /** The same, under a name outside the shape. */
  list<T = Value>(name: string): Collected<SharedList<T>, "insert" | "push" | "remove">;
  /** A text of the content. */
  text(name: string): Collected<SharedText, "insert" | "remove" | "format">;
}

/**
 * A document an agent has opened: a replica of its own.
 *
 * Reads and writes are local. A write has happened when its promise resolves; {@link flush} says when it is durable.
 * Without a connection they go on; replicas converge when they meet again.
 */
export class Document<S extends Shape = Shape> extends Parts<S> {
  /** Its name in the swarm. */
  readonly name: string;
  readonly #handle: Handle<RawDocument>;
  #leave: (() => void) | undefined;
  /** This agent's ephemeral state, shown anew in each life. */
  #presence: { state: PresenceOf<S> } | undefined;

  /** @internal */
  constructor(name: string, handle: Handle<RawDocument>) {
    const write: Write = async (method, args, value) => {
      const call = handle.call as (method: string, ...args: unknown[]) => Promise<void>;
      return value ? call.call(handle, method, ...args, encode(value[0])) : call.call(handle, method, ...args);
    };
    super({ read: handle, write });
    this.name = name;
    this.#handle = handle;
  }

  /** Its full name: `swarm/name`. */
  id(): Promise<string> {
    return this.#handle.call("id");
  }

  /** What an agent tells about itself in this document. */
  agentState(agent: string): AgentState {
    return new AgentState(() => this.#handle, agent);
  }

  /**
   * Changes several things in one step: all of it becomes visible at once at every replica, or none of it. What the plan
   * throws is passed on, and nothing is changed then.
   */
  async transact(plan: (tx: Transaction<S>) => void): Promise<void> {
    const changes: unknown[][] = [];
    const collected = Promise.resolve();
    const write: Write = (method, args, value) => {
      changes.push([method, ...args, ...(value ?? [])]);
      return collected;
    };
    plan(new Parts<S>({ read: this.#handle, write }));
    if (changes.length > 0) await this.#handle.call("transact", encode(changes));
  }

  /**
   * Hears the changes from now on of what lies under a prefix (`map/lights`; empty for everything), with `for await` or
   * a callback. Where some were missed, after a take-over or when the listener is slow, `missed` says so.
   */
  observe(prefix?: string, options?: Waiting): Hearing<Changes>;
  observe(prefix: string, heard: (changes: Changes) => void, options?: Waiting): Hearing<Changes>;
  observe(prefix = "", heard?: ((changes: Changes) => void) | Waiting, options?: Waiting): Hearing<Changes> {
    const callback = typeof heard === "function" ? heard : undefined;
    const waiting = typeof heard === "function" ? options : heard;
    const missed: Changes = { patches: [], missed: true };
    return new Hearing(
      this.#handle.lives,
      (hear) =>
        this.#handle.call("observe", prefix, (patches) =>
          hear(patches === undefined ? missed : { patches: decode<Patch[]>(patches), missed: false }),
        ),
      missed,
      callback,
      waiting?.signal,
    );
  }

  /** Shows this agent's ephemeral state: seen by those connected now, gone with the connection. */
  async setPresence(state: PresenceOf<S>): Promise<void> {
    this.#presence = { state };
    this.#leave ??= this.#handle.lives.each((life) => {
      if (life && this.#presence) void this.#handle.call("setPresence", encode(this.#presence.state)).catch(() => {});
    });
    await this.#handle.call("setPresence", encode(state));
  }

  /** Takes it away. */
  async clearPresence(): Promise<void> {
    this.#presence = undefined;
    await this.#handle.call("clearPresence");
  }

  /** The ephemeral states of all agents in the document. */
  async presence(): Promise<PresenceEntry<PresenceOf<S>>[]> {
    return decode(await this.#handle.call("presence"));
  }

  /** The members of the swarm: of its own document only, see {@link Agent.swarm}. */
  async members(): Promise<Member[]> {
    return decode(await this.#handle.call("members"));
  }

  /** All it holds, for people. */
  async tree(): Promise<Value> {
    return decode(await this.#handle.call("tree"));
  }

  /** How it stands: what is not yet durable, and why. */
  async status(): Promise<DocumentStatus | undefined> {
    const status = await this.#handle.call("status");
    return status === undefined ? undefined : decode<DocumentStatus>(status);
  }

  /** SHA-256 of what it holds, hex: equal at replicas that hold the same. */
  digest(): Promise<string> {
    return this.#handle.call("digest");
  }

  /**
   * Waits until all local writes of this document are durable: at a relay when one was named, else in the store. Fails
   * with `ForbiddenError` when a relay does not take them.
   */
  flush(waiting?: Waiting): Promise<void> {
    return abortable(waiting, (abort) => this.#handle.call("flush", abort));
  }

  /** Its barriers, epochs, polls, decisions and queues, and why they wait. */
  async explain(): Promise<ObjectStatus[]> {
    return decode(await this.#handle.call("explain"));
  }

  /** Finishes an object for everybody, by name; false when there is none. */
  cleanUp(name: string): Promise<boolean> {
    return this.#handle.call("cleanUp", name);
  }

  /** A barrier, as soon as its definition is here. Without members it is whatever goes by the name. */
  barrier(name: string, settings: BarrierSettings = {}, waiting?: Waiting): Promise<Barrier> {
    const text = encode(barrierSettings(settings));
    return this.#object(
      waiting,
      (raw) => raw.barrier(name, text),
      (handle) => new Barrier(handle, name),
    );
  }

  /** An epoch, as soon as its definition is here. */
  epoch(name: string, settings: EpochSettings = {}, waiting?: Waiting): Promise<Epoch> {
    const text = encode(epochSettings(settings));
    return this.#object(
      waiting,
      (raw) => raw.epoch(name, text),
      (handle) => new Epoch(handle, name),
    );
  }

  /** A poll, as soon as its definition is here. */
  poll(name: string, settings: PollSettings = {}, waiting?: Waiting): Promise<Poll> {
    const text = encode(pollSettings(settings));
    return this.#object(
      waiting,
      (raw) => raw.poll(name, text),
      (handle) => new Poll(handle, name),
    );
  }

  /** A decision, as soon as its definition is here. */
  decision<T = Value>(name: string, settings: DecisionSettings = {}, waiting?: Waiting): Promise<Decision<T>> {
    const text = encode(decisionSettings(settings));
    return this.#object(
      waiting,
      (raw) => raw.decision(name, text),
      (handle) => new Decision<T>(handle, name),
    );
  }

  /** A queue of work, as soon as its definition is here. Without members: of all who are in the swarm when it begins. */
  queue<N extends Names<S, "queues">>(
    name: N,
    settings?: QueueSettings,
    waiting?: Waiting,
  ): Promise<Queue<Of<S, "queues", N>>>;
  queue<T = Value>(name: string, settings?: QueueSettings, waiting?: Waiting): Promise<Queue<T>>;
  queue(name: string, settings: QueueSettings = {}, waiting?: Waiting): Promise<Queue<unknown>> {
    const text = encode(queueSettings(settings));
    return this.#object(
      waiting,
      (raw) => raw.queue(name, text),
      (handle) => new Queue<unknown>(handle, name),
    );
  }

  async #object<R extends object, H>(
    waiting: Waiting | undefined,
    open: (raw: RawDocument) => Promise<R>,
    make: (handle: Handle<R>) => H,
  ): Promise<H> {
    const handle = new Handle<R>(this.#handle.lives, async (life) => life.guard(open((await this.#handle.open())[1])));
    try {
      await abortable(waiting, () => handle.open());
    } catch (thrown) {
      handle.close();
      throw thrown;
    }
    return make(handle);
  }

  /** Closes this handle; others on the document stay, and so does what it holds. */
  close(): void {
    this.#leave?.();
    this.#handle.close();
  }

  /** {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

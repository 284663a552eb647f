/** Agents: members of a swarm, each with replicas of the documents it works with. */

import { abortable, type Waiting } from "./abort.js";
import { AgentState } from "./content.js";
import { Document, type Shape } from "./document.js";
import type { Place, PlaceOptions } from "./engine.js";
import { askToPersist } from "./indexeddb.js";
import { decode, encode } from "./json.js";
import type { RawAgent, RawDocument, RawStore } from "./raw.js";
import { Handle, Hearing, Lives } from "./recovery.js";
import type { AgentEvent, AgentStatus, Recipient } from "./report.js";
import { LocalSource, type Source } from "./source.js";
import { TabSource } from "./tabs.js";

/** Settings of an agent. */
export interface AgentOptions {
  /** Its name in the swarm. */
  name: string;
  /** The swarm it belongs to; documents of different swarms are apart. `default` unless set. */
  swarm?: string;
  /** Relays to keep connections to (`ws://host:port`, `wss://host:port`); without any the agent works alone. */
  connect?: string | readonly string[];
  /** The engine of documents this agent creates. */
  engine?: "yrs" | "automerge";
  /**
   * Keeps documents and the agent's identity, so that work done offline survives: `true` or a name for the browser's
   * IndexedDB, or a store of your own. Tabs of one origin that open the same agent share its store and its connection.
   * Without it they live in memory only.
   */
  store?: boolean | string | RawStore;
  /** What it shows to relays that ask who it is: a token, and the key it is bound to (JWK). */
  credential?: { token: string; key: string | JsonWebKey };
  /** Takes part without being a member of the swarm. */
  onlooker?: boolean;
  /** Runs the module in a Worker, so that large documents do not hold the page up. The API is the same. */
  worker?: boolean;
}

/** How urgent a message is. */
export type Lane = "critical" | "high" | "normal" | "low";

const LANES: Record<Lane, number> = { critical: 0, high: 1, normal: 2, low: 3 };

/** Where agents of an entry run. */
export interface Places {
  /** In this thread. */
  here: Place;
  /** In a Worker, where there are any. */
  worker?: (() => Place) | undefined;
}

/** This agent's own state (status, position, progress): only it writes it, the swarm sees it. */
export class OwnState extends AgentState {
  readonly #agent: Handle<RawAgent>;

  /** @internal */
  constructor(agent: Handle<RawAgent>, swarm: () => Handle<RawDocument>, name: string) {
    super(swarm, name);
    this.#agent = agent;
  }

  /** Tells something under a key. */
  async set(key: string, value: unknown): Promise<void> {
    await this.#agent.call("setState", key, encode(value));
  }

  /** Takes it away. */
  clear(key: string): Promise<void> {
    return this.#agent.call("clearState", key);
  }
}

/**
 * One member of a swarm.
 *
 * Where a call fails with `PanicError` or `InterruptedError`, the agent goes on: its handles work again as soon as it
 * has been opened anew from its store.
 */
export class AgentBase {
  /** Its name. */
  readonly name: string;
  /** The swarm it belongs to. */
  readonly swarmName: string;
  /** Its own state, seen by the whole swarm. */
  readonly state: OwnState;
  readonly #lives: Lives;
  readonly #source: Source;
  readonly #handle: Handle<RawAgent>;
  /** What {@link setOnline} asked for last. */
  #isOnline: boolean | undefined;

  /** @internal */
  protected constructor(begun: Begun) {
    this.name = begun.name;
    this.swarmName = begun.swarm;
    this.#lives = begun.lives;
    this.#source = begun.source;
    this.#handle = new Handle(begun.lives, (life) => life.agent);
    let swarm: Handle<RawDocument> | undefined;
    const open = (): Handle<RawDocument> => (swarm ??= this.#document((agent) => agent.swarm()));
    this.state = new OwnState(this.#handle, open, this.name);
    this.#lives.each((life) => {
      if (life && this.#isOnline === false) void this.#handle.call("setOnline", false).catch(() => {});
    });
  }

  #document(open: (agent: RawAgent) => Promise<RawDocument>): Handle<RawDocument> {
    return new Handle(this.#lives, (life) => open(life.agent));
  }

  /**
   * Opens a document of the swarm, from the store or empty; what peers have of it arrives by itself. All replicas of a
   * document use the same engine. Fails with `NodeError` when it is kept with another one.
   */
  async document<S extends Shape = Shape>(
    name: string,
    options: Waiting & { engine?: "yrs" | "automerge" } = {},
  ): Promise<Document<S>> {
    return this.#opened<S>(
      name,
      options,
      this.#document((agent) => agent.document(name, options.engine)),
    );
  }

  /** The swarm's own document: members, and every agent's state. */
  async swarm(waiting: Waiting = {}): Promise<Document> {
    return this.#opened(
      "_swarm",
      waiting,
      this.#document((agent) => agent.swarm()),
    );
  }

  async #opened<S extends Shape>(name: string, waiting: Waiting, handle: Handle<RawDocument>): Promise<Document<S>> {
    try {
      await abortable(waiting, () => handle.open());
    } catch (thrown) {
      handle.close();
      throw thrown;
    }
    return new Document<S>(name, handle);
  }

  /**
   * Sends a message to one agent, to those in a document, or to all. At most once, to those connected now; what must
   * arrive belongs into a document.
   */
  async send(to: Recipient, body: Uint8Array, lane: Lane = "normal"): Promise<void> {
    await this.#handle.call("send", encode(to), LANES[lane], body);
  }

  /** Hears what happens from now on, with `for await` or a callback. */
  events(options?: Waiting): Hearing<AgentEvent>;
  events(heard: (event: AgentEvent) => void, options?: Waiting): Hearing<AgentEvent>;
  events(heard?: ((event: AgentEvent) => void) | Waiting, options?: Waiting): Hearing<AgentEvent> {
    const callback = typeof heard === "function" ? heard : undefined;
    const waiting = typeof heard === "function" ? options : heard;
    return new Hearing<AgentEvent>(
      this.#lives,
      (hear) =>
        this.#handle.call("events", (text, body) => {
          const event = decode<AgentEvent>(text);
          hear(body && event.kind === "message" ? { ...event, body } : event);
        }),
      { kind: "missed", count: 0 },
      callback,
      waiting?.signal,
    );
  }

  /**
   * Waits until all local writes of all documents are durable at the relay; without a relay, in the store. Fails with
   * `ForbiddenError` when a relay does not take them, with `QuotaExceededError` or `StoreError` when the store does not.
   */
  flush(waiting?: Waiting): Promise<void> {
    return abortable(waiting, (abort) => this.#handle.call("flush", abort));
  }

  /** Waits until all local writes are durable in the browser: they survive a closed tab and a crash. Fails as {@link flush}. */
  persisted(waiting?: Waiting): Promise<void> {
    return abortable(waiting, (abort) => this.#handle.call("persisted", abort));
  }

  /** How things stand: online, what is not yet durable and why. */
  async status(): Promise<AgentStatus> {
    return decode(await this.#handle.call("status"));
  }

  /** Whether the browser has promised not to empty its storage when the disk runs full; asked once, when a store is opened. */
  isStoragePersistent(): Promise<boolean> {
    return askToPersist();
  }

  /** The number it writes under, in hex. */
  replica(): Promise<string> {
    return this.#handle.call("replica");
  }

  /** Takes the agent off the network (`false`) or back on: work goes on locally meanwhile. */
  async setOnline(online: boolean): Promise<void> {
    this.#isOnline = online;
    await this.#handle.call("setOnline", online);
  }

  /** Cuts every connection as a lost network would; relays are dialled again. */
  disconnect(): Promise<void> {
    return this.#handle.call("disconnect");
  }

  /** Shows a newer credential of the same agent and key. */
  async renew(token: string): Promise<void> {
    await this.#handle.call("renew", token);
    this.#source.renewed(token);
  }

  /** Closes it: what was written is handed to the store, what waits ends with `ClosedError`. */
  close(): Promise<void> {
    return this.#source.close();
  }

  /** {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** An agent whose first life has begun. */
export interface Begun {
  name: string;
  swarm: string;
  lives: Lives;
  source: Source;
}

/** Begins an agent. Does not wait for connections. @internal */
export async function begin(places: Places, options: AgentOptions): Promise<Begun> {
  const { name, swarm = "default", connect = [], engine, store, credential, onlooker, worker } = options;
  if (worker && !places.worker) throw new TypeError("there are no Workers here");
  if (worker && typeof store === "object") throw new TypeError("a Worker takes a store by its name only");
  const kept = store === true ? `aepoch/${swarm}/${name}` : store || undefined;
  const given: PlaceOptions = {
    name,
    swarm,
    connect: typeof connect === "string" ? [connect] : [...connect],
    ...(engine && { engine }),
    ...(onlooker && { onlooker }),
    ...(credential && { credential: { token: credential.token, key: textOf(credential.key) } }),
    ...(kept && { store: kept }),
  };
  if (typeof kept === "string") void askToPersist();
  const lives = new Lives();
  const place = (): Place => (worker && places.worker ? places.worker() : places.here);
  const isShared = typeof kept === "string" && TabSource.isPossible();
  const source = isShared ? new TabSource(kept, place, given, lives) : new LocalSource(place(), given, lives);
  await source.begin();
  return { name, swarm, lives, source };
}

const textOf = (key: string | JsonWebKey): string => (typeof key === "string" ? key : JSON.stringify(key));

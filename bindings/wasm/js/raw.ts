/**
 * What the WASM module offers: objects with methods, values as JSON text, bytes as they are.
 *
 * Values are JSON text here because that is what records hold: the engine's own `JSON.stringify` is the one pass there
 * is, where a conversion object by object would be a second. The classes of the module have this shape, and so has
 * what stands for them where the module runs in a Worker or in another tab: there every method answers with a promise,
 * so callers always await.
 *
 * Every error that leaves the module is an `Error` with a `code` (see `errors.ts`).
 */

/** JSON text. */
export type Json = string;

/** The answer of a method: at once where the module is in this thread, else later. */
export type Answer<T> = T | Promise<T>;

/** Ends a wait when it is settled, in whatever way; nothing else is undone. */
export type Abort = Promise<unknown> | undefined;

/** Something that goes on until it is stopped. */
export interface RawHearing {
  stop(): Answer<void>;
}

/** Settings of an agent. */
export interface RawOptions {
  name: string;
  swarm: string;
  engine?: "yrs" | "automerge";
  /** `ws://host:port` or `wss://host:port`. */
  connect: string[];
  /** Takes part without being a member of the swarm. */
  onlooker?: boolean;
  /** A credential and its private key, as JWK text. */
  credential?: { token: string; key: string };
}

/** A task of the store: see {@link RawStore.commit}. */
export type RawTask =
  | { kind: "load"; document: string }
  | { kind: "append"; document: string; header: Uint8Array; entries: Uint8Array[] }
  | { kind: "compact"; document: string; upto: number; snapshot: Uint8Array }
  | { kind: "list" };

/** The answer to a task. */
export type RawDone =
  | { kind: "loaded"; document?: { header: Uint8Array; snapshot?: Uint8Array; entries: Uint8Array[]; last: number } }
  | { kind: "appended"; last: number }
  | { kind: "compacted" }
  | { kind: "listed"; documents: { document: string; snapshotBytes: number; entries: number; logBytes: number }[] }
  | { kind: "failed"; during: "read" | "write"; reason: string }
  | { kind: "missing"; document: string };

/**
 * A place where documents survive. The log of a document is numbered from 1; `compact` replaces its entries up to and
 * including `upto` by the snapshot, in one step, while later entries keep their numbers. A snapshot older than the one kept
 * changes nothing; `upto` beyond the log means the whole log; a document never appended to is `missing`. `header` is kept
 * from the first append on.
 */
export interface RawStore {
  /** One transaction: all writes are durable together or none is; reads see the writes before them. */
  commit(tasks: RawTask[]): Promise<RawDone[]>;
  /** What is kept under a name beside the documents. */
  note(name: string): Promise<Uint8Array | undefined>;
  /** Keeps it durably. */
  setNote(name: string, note: Uint8Array): Promise<void>;
}

export interface RawAgent {
  name(): Answer<string>;
  /** The number it writes under, 16 hex digits. */
  replica(): Answer<string>;
  /** {@link AgentStatus}. */
  status(): Answer<Json>;
  document(name: string, engine?: string): Promise<RawDocument>;
  /** The swarm's own document: members and their states. */
  swarm(): Promise<RawDocument>;
  setState(key: string, value: Json): Answer<void>;
  clearState(key: string): Answer<void>;
  /** `to`: `{"agent": name}`, `{"document": name}` or `"all"`; lane 0 (critical) to 3 (low). */
  send(to: Json, lane: number, body: Uint8Array): Answer<void>;
  /** Hears every {@link AgentEvent} from now on. */
  events(heard: (event: Json, body?: Uint8Array) => void): Answer<RawHearing>;
  /** Waits until all local writes are durable at the relay, or in the store when none was named. */
  flush(abort?: Abort): Promise<void>;
  /** Waits until all local writes are durable in the store. */
  persisted(abort?: Abort): Promise<void>;
  setOnline(online: boolean): Answer<void>;
  /** Cuts every connection as a lost network would. */
  disconnect(): Answer<void>;
  renew(token: string): Answer<void>;
  close(): Promise<void>;
}

export interface RawDocument {
  id(): Answer<string>;
  registerSet(name: string, value: Json): Answer<void>;
  registerGet(name: string): Answer<Json | undefined>;
  /** Concurrent values with their writers: `Candidate[]`. */
  registerValues(name: string): Answer<Json>;
  registerVersion(name: string): Answer<number>;
  registerClear(name: string): Answer<void>;
  counterAdd(name: string, by: number): Answer<void>;
  counterGet(name: string): Answer<number>;
  agentGet(agent: string, key: string): Answer<Json | undefined>;
  agentKeys(agent: string): Answer<string[]>;
  mapPut(map: string, key: string, value: Json): Answer<void>;
  mapGet(map: string, key: string): Answer<Json | undefined>;
  mapRemove(map: string, key: string): Answer<void>;
  /** `[key, value][]`. */
  mapEntries(map: string): Answer<Json>;
  setInsert(set: string, value: Json): Answer<void>;
  setRemove(set: string, value: Json): Answer<void>;
  setHas(set: string, value: Json): Answer<boolean>;
  setValues(set: string): Answer<Json>;
  /** `values`: an array. */
  listInsert(list: string, index: number, values: Json): Answer<void>;
  listPush(list: string, value: Json): Answer<void>;
  listRemove(list: string, from: number, to: number): Answer<void>;
  listValues(list: string): Answer<Json>;
  /** Positions count Unicode scalar values. */
  textInsert(text: string, index: number, chars: string): Answer<void>;
  textRemove(text: string, from: number, to: number): Answer<void>;
  textFormat(text: string, from: number, to: number, attribute: string, value: Json): Answer<void>;
  textGet(text: string): Answer<string>;
  textSpans(text: string): Answer<Json>;
  /** Several changes that become visible together: `[method, ...arguments][]`, methods of this interface that write. */
  transact(changes: Json): Answer<void>;
  /** Hears `Patch[]` below a path from now on. `undefined` says that some were missed: read anew. */
  observe(prefix: string, heard: (patches: Json | undefined) => void): Answer<RawHearing>;
  setPresence(state: Json): Answer<void>;
  clearPresence(): Answer<void>;
  /** `PresenceEntry[]`. */
  presence(): Answer<Json>;
  /** `Member[]`, of the swarm's document. */
  members(): Answer<Json>;
  /** The whole document as JSON, for people. */
  tree(): Answer<Json>;
  /** `DocumentStatus`. */
  status(): Answer<Json | undefined>;
  /** SHA-256 of what it holds, hex: equal at replicas that hold the same. */
  digest(): Answer<string>;
  flush(abort?: Abort): Promise<void>;
  /** `ObjectStatus[]`: barriers and their kin, and why they wait. */
  explain(): Answer<Json>;
  /** Finishes an object by name; false when there is none. */
  cleanUp(name: string): Promise<boolean>;
  barrier(name: string, settings: Json): Promise<RawBarrier>;
  epoch(name: string, settings: Json): Promise<RawEpoch>;
  poll(name: string, settings: Json): Promise<RawPoll>;
  decision(name: string, settings: Json): Promise<RawDecision>;
  queue(name: string, settings: Json): Promise<RawQueue>;
  /** Closes this handle; other handles on the document stay. */
  free(): Answer<void>;
}

/** An object of the coordination. */
export interface RawObject {
  id(): Answer<string>;
  /** `ObjectStatus`. */
  status(): Answer<Json>;
  /** Finishes it for everybody. */
  cleanUp(): Promise<void>;
  free(): Answer<void>;
}

export interface RawBarrier extends RawObject {
  /** Arrives; the generation it arrived in, for {@link released}. */
  arriveNow(): Promise<number>;
  /** Waits for the end of a generation this agent has arrived in, also before a restart: `Passage`. */
  released(generation: number, abort?: Abort): Promise<Json>;
  decline(): Promise<void>;
  acknowledge(): Promise<void>;
}

export interface RawEpoch extends RawObject {
  /** Finishes a phase; the generation it is, for {@link over}. */
  finishNow(phase: string): Promise<number>;
  /** Waits for the end of a phase this agent has finished, also before a restart: `Passage`. */
  over(generation: number, abort?: Abort): Promise<Json>;
  /** The phase it is in, by name. */
  phase(): Answer<string | undefined>;
  /** Names of agents that keep the present phase. */
  laggards(): Answer<string[]>;
}

export interface RawPoll extends RawObject {
  vote(option: string): Promise<void>;
  /** The option approved; `undefined` when none can be any more. */
  decided(abort?: Abort): Promise<string | undefined>;
}

export interface RawDecision extends RawObject {
  propose(value: Json): Promise<void>;
  abstain(): Promise<void>;
  /** The value decided; `undefined` when all abstained. */
  decided(abort?: Abort): Promise<Json | undefined>;
}

export interface RawQueue extends RawObject {
  /** The item's number, once it is durable here. `deadline`: milliseconds since 1970. */
  push(payload: Json, tier: number, deadline?: number): Promise<string>;
  /** `mode`: `exclusive` or `advisory`. */
  claim(mode: string, abort?: Abort): Promise<RawClaim>;
  /** `ItemView[]`, in order. */
  items(): Answer<Json>;
  /** `QueueStatus`. */
  queueStatus(): Answer<Json>;
  requeue(item: string): Promise<void>;
  discard(item: string): Promise<void>;
}

/** A claimed item. */
export interface RawClaim {
  item(): Answer<string>;
  /** The fencing token. */
  token(): Answer<number>;
  payload(): Answer<Json>;
  /** False once somebody else has taken it over. */
  isHeld(): Answer<boolean>;
  complete(): Promise<void>;
  fail(reason: string): Promise<void>;
  /** Gives it back, unless it is done. */
  free(): Answer<void>;
}

/** Settings of whatever members decide: those of the Rust builders, under the same names. Spans are in milliseconds. */
export interface RawSettings {
  /** Tier number (0 is alpha) and agent. */
  members?: [number, string][];
  everybody?: boolean;
  electors?: string[];
  relayElects?: boolean;
  tolerate?: number | "minority";
  atMost?: number;
  begin?: boolean;
  /** Barriers: by tier number. */
  timeouts?: [number, number][];
  atLeast?: [number, number][];
  onShortfall?: "wait" | "proceed" | "break";
  /** Barriers only. */
  cyclic?: boolean;
  fence?: boolean;
  gate?: "decided" | "acked";
  /** Epochs only. */
  phases?: string[];
  window?: number;
  /** Polls only. */
  options?: string[];
  weights?: [string, number][];
  threshold?: number;
  closable?: boolean;
  /** Queues only. */
  lease?: number;
  attempts?: number;
  bucket?: number;
}

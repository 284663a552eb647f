/** What a document holds: registers, counters, maps, sets, lists, texts, and agents' own states. */

import { decode, decodeIf, encode, type Value } from "./json.js";
import type { RawDocument } from "./raw.js";
import type { Handle } from "./recovery.js";
import type { Candidate, TextSpan } from "./report.js";

/** Changes of a document that have no answer, and their arguments: a value in place of JSON text. */
export type Write = (method: WriteMethod, args: readonly (string | number)[], value?: [unknown]) => Promise<void>;
/** The methods of {@link RawDocument} that change content or records. */
export type WriteMethod =
  | "registerSet"
  | "registerClear"
  | "counterAdd"
  | "mapPut"
  | "mapRemove"
  | "setInsert"
  | "setRemove"
  | "listInsert"
  | "listPush"
  | "listRemove"
  | "textInsert"
  | "textRemove"
  | "textFormat";

/** Where handles read, and how they write. */
export interface Access {
  read: Handle<RawDocument>;
  write: Write;
}

/** A part of a document, by its name. */
class Part {
  /** Its name in the document. */
  readonly name: string;
  /** @internal */
  protected readonly at: Access;

  /** @internal */
  constructor(at: Access, name: string) {
    this.at = at;
    this.name = name;
  }
}

/** A value with several writers. Concurrent values stay visible; overwriting costs no history. */
export class Register<T> extends Part {
  /** Sets it. Later than everything this agent has seen of it. */
  set(value: T): Promise<void> {
    return this.at.write("registerSet", [this.name], [value]);
  }

  /** Takes its value away. */
  clear(): Promise<void> {
    return this.at.write("registerClear", [this.name]);
  }

  /** The value; of concurrent ones, the one written last. */
  async get(): Promise<T | undefined> {
    return decodeIf<T>(await this.at.read.call("registerGet", this.name));
  }

  /** All concurrent values with their writers. */
  async values(): Promise<Candidate<T>[]> {
    return decode(await this.at.read.call("registerValues", this.name));
  }

  /** Grows with every write. */
  version(): Promise<number> {
    return this.at.read.call("registerVersion", this.name);
  }
}

/** A sum to which all replicas add; no addition is lost. */
export class Counter extends Part {
  /** Adds a whole number, which may be below zero. */
  add(by: number): Promise<void> {
    return this.at.write("counterAdd", [this.name, by]);
  }

  /** The sum. */
  get(): Promise<number> {
    return this.at.read.call("counterGet", this.name);
  }
}

/** A map of the content: of two who put under one key at the same time, one wins everywhere. */
export class SharedMap<T> extends Part {
  /** Puts a value under a key. */
  put(key: string, value: T): Promise<void> {
    return this.at.write("mapPut", [this.name, key], [value]);
  }

  /** Removes a key. */
  remove(key: string): Promise<void> {
    return this.at.write("mapRemove", [this.name, key]);
  }

  /** The value under a key. */
  async get(key: string): Promise<T | undefined> {
    return decodeIf<T>(await this.at.read.call("mapGet", this.name, key));
  }

  /** All keys with their values. */
  async entries(): Promise<[string, T][]> {
    return decode(await this.at.read.call("mapEntries", this.name));
  }
}

/** A set of the content; values are equal when their JSON is. */
export class SharedSet<T> extends Part {
  /** Inserts a value. */
  insert(value: T): Promise<void> {
    return this.at.write("setInsert", [this.name], [value]);
  }

  /** Removes a value. */
  remove(value: T): Promise<void> {
    return this.at.write("setRemove", [this.name], [value]);
  }

  /** Whether a value is in it. */
  async has(value: T): Promise<boolean> {
    return this.at.read.call("setHas", this.name, encode(value));
  }

  /** All values. */
  async values(): Promise<T[]> {
    return decode(await this.at.read.call("setValues", this.name));
  }
}

/** A list of the content. */
export class SharedList<T> extends Part {
  /** Inserts values before a position. */
  insert(index: number, ...values: T[]): Promise<void> {
    return this.at.write("listInsert", [this.name, index], [values]);
  }

  /** Adds a value at the end. */
  push(value: T): Promise<void> {
    return this.at.write("listPush", [this.name], [value]);
  }

  /** Removes the values from one position up to, not including, another. */
  remove(from: number, to = from + 1): Promise<void> {
    return this.at.write("listRemove", [this.name, from, to]);
  }

  /** All values. */
  async values(): Promise<T[]> {
    return decode(await this.at.read.call("listValues", this.name));
  }
}

/** A text with formatting. Positions count Unicode scalar values, as `[...text].length` does. */
export class SharedText extends Part {
  /** Inserts text before a position. */
  insert(index: number, chars: string): Promise<void> {
    return this.at.write("textInsert", [this.name, index, chars]);
  }

  /** Removes from one position up to, not including, another. */
  remove(from: number, to: number): Promise<void> {
    return this.at.write("textRemove", [this.name, from, to]);
  }

  /** Gives a run an attribute; null takes it away. */
  format(from: number, to: number, attribute: string, value: Value): Promise<void> {
    return this.at.write("textFormat", [this.name, from, to, attribute], [value]);
  }

  /** The text. */
  get(): Promise<string> {
    return this.at.read.call("textGet", this.name);
  }

  /** The text in runs of equal formatting. */
  async spans(): Promise<TextSpan[]> {
    return decode(await this.at.read.call("textSpans", this.name));
  }
}

/** What an agent tells about itself. */
export class AgentState {
  /** Whose it is. */
  readonly agent: string;
  /** @internal */
  protected readonly document: () => Handle<RawDocument>;

  /** @internal */
  constructor(document: () => Handle<RawDocument>, agent: string) {
    this.document = document;
    this.agent = agent;
  }

  /** What it tells under a key. That it is a `T` is the word of that agent. */
  async get<T = Value>(key: string): Promise<T | undefined> {
    return decodeIf<T>(await this.document().call("agentGet", this.agent, key));
  }

  /** All keys. */
  keys(): Promise<string[]> {
    return this.document().call("agentKeys", this.agent);
  }
}

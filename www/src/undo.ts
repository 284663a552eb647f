/**
 * Edits that can be taken back: each is kept with its inverse, which is written as a change of its own. What others wrote
 * meanwhile stays, except where it is of the same register or key.
 */

import type { Document, Transaction, Value } from "aepoch";
import { signal } from "@preact/signals";

/** A change, by what it does to one part. `undefined` stands for nothing there. */
export type Edit =
  | { kind: "register"; name: string; from: Value | undefined; to: Value | undefined }
  | { kind: "map"; name: string; key: string; from: Value | undefined; to: Value | undefined }
  | { kind: "counter"; name: string; by: number }
  | { kind: "list"; name: string; at: number; removed: Value[]; inserted: Value[] }
  | { kind: "text"; name: string; at: number; removed: string; inserted: string };

const KEPT = 200;

export class Undo {
  readonly done = signal<readonly Edit[]>([]);
  readonly undone = signal<readonly Edit[]>([]);
  readonly #document: Document;

  constructor(document: Document) {
    this.#document = document;
  }

  async apply(edit: Edit): Promise<void> {
    await this.#write(edit);
    this.done.value = [...this.done.value, edit].slice(-KEPT);
    this.undone.value = [];
  }

  async undo(): Promise<void> {
    const edit = this.done.value.at(-1);
    if (!edit) return;
    await this.#write(inverse(edit));
    this.done.value = this.done.value.slice(0, -1);
    this.undone.value = [...this.undone.value, edit];
  }

  async redo(): Promise<void> {
    const edit = this.undone.value.at(-1);
    if (!edit) return;
    await this.#write(edit);
    this.undone.value = this.undone.value.slice(0, -1);
    this.done.value = [...this.done.value, edit];
  }

  #write(edit: Edit): Promise<void> {
    return this.#document.transact((tx) => write(tx, edit));
  }
}

function write(tx: Transaction, edit: Edit): void {
  switch (edit.kind) {
    case "register":
      if (edit.to === undefined) tx.register(edit.name).clear();
      else tx.register(edit.name).set(edit.to);
      break;
    case "map":
      if (edit.to === undefined) tx.map(edit.name).remove(edit.key);
      else tx.map(edit.name).put(edit.key, edit.to);
      break;
    case "counter":
      tx.counter(edit.name).add(edit.by);
      break;
    case "list":
      if (edit.removed.length > 0) tx.list(edit.name).remove(edit.at, edit.at + edit.removed.length);
      if (edit.inserted.length > 0) tx.list(edit.name).insert(edit.at, ...edit.inserted);
      break;
    case "text":
      if (edit.removed !== "") tx.text(edit.name).remove(edit.at, edit.at + [...edit.removed].length);
      if (edit.inserted !== "") tx.text(edit.name).insert(edit.at, edit.inserted);
      break;
  }
}

export function inverse(edit: Edit): Edit {
  switch (edit.kind) {
    case "register":
    case "map":
      return { ...edit, from: edit.to, to: edit.from };
    case "counter":
      return { ...edit, by: -edit.by };
    case "list":
      return { ...edit, removed: edit.inserted, inserted: edit.removed };
    case "text":
      return { ...edit, removed: edit.inserted, inserted: edit.removed };
  }
}

/** The one run in which two texts differ; positions count Unicode scalar values. */
export function difference(name: string, before: string, after: string): Edit {
  const [old, now] = [[...before], [...after]];
  let at = 0;
  while (at < old.length && at < now.length && old[at] === now[at]) at += 1;
  let tail = 0;
  while (tail < old.length - at && tail < now.length - at && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const removed = old.slice(at, old.length - tail).join("");
  return { kind: "text", name, at, removed, inserted: now.slice(at, now.length - tail).join("") };
}

/** What an edit did, in a few words. */
export function described(edit: Edit): string {
  switch (edit.kind) {
    case "register":
      return `register ${edit.name}`;
    case "map":
      return `${edit.name}/${edit.key}`;
    case "counter":
      return `counter ${edit.name} ${edit.by < 0 ? "−" : "+"}${Math.abs(edit.by)}`;
    case "list":
      return `list ${edit.name} at ${edit.at}`;
    case "text":
      return `text ${edit.name} at ${edit.at}`;
  }
}

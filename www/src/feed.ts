/** What went wrong, newest first, and what was done about it is up to the reader. */

import { signal } from "@preact/signals";

export interface Trouble {
  number: number;
  at: number;
  source: string;
  text: string;
}

const KEPT = 500;
let next = 1;

export const feed = signal<readonly Trouble[]>([]);
/** The newest, for a moment, where it is seen from every view. */
export const latest = signal<Trouble | undefined>(undefined);

export function report(source: string, thrown: unknown): void {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  const before = feed.value[0];
  // A relay that is away says so with every dial.
  if (before?.source === source && before.text === text) {
    feed.value = [{ ...before, at: Date.now() }, ...feed.value.slice(1)];
    return;
  }
  const trouble = { number: next++, at: Date.now(), source, text };
  feed.value = [trouble, ...feed.value].slice(0, KEPT);
  latest.value = trouble;
}

/** Does it, and reports when it fails. */
export function attempt(source: string, work: () => Promise<unknown>): void {
  work().catch((thrown: unknown) => report(source, thrown));
}

/** Times this tab was cut off: what was written meanwhile, and what coming back took. */

import { signal } from "@preact/signals";
import { report } from "./feed.js";
import type { Seen } from "./open-document.js";
import type { Session } from "./session.js";

export interface Absence {
  number: number;
  from: number;
  until: number | undefined;
  /** Changes of this tab meanwhile. */
  written: readonly Seen[];
  /** Commits that waited when it came back. */
  unsynced: number;
  /** What coming back took, once all is durable at the relay. */
  back: { ms: number; sent: number; received: number } | undefined;
}

let next = 1;

/** Newest first. */
export const absences = signal<readonly Absence[]>([]);

function change(number: number, part: Partial<Absence>): void {
  absences.value = absences.value.map((one) => (one.number === number ? { ...one, ...part } : one));
}

export async function leave(session: Session): Promise<void> {
  await session.setOnline(false);
  const one = { number: next++, from: Date.now(), until: undefined, written: [], unsynced: 0, back: undefined };
  absences.value = [one, ...absences.value].slice(0, 50);
}

export async function comeBack(session: Session): Promise<void> {
  const one = absences.value[0];
  const before = await session.agent.status();
  const start = performance.now();
  if (one && one.until === undefined) change(one.number, { until: Date.now(), unsynced: before.unsynced, written: written(session, one) });
  await session.setOnline(true);
  if (!one) return;
  try {
    await session.flush(AbortSignal.timeout(60_000));
    const after = await session.agent.status();
    const ms = performance.now() - start;
    change(one.number, { back: { ms, sent: after.bytes_out - before.bytes_out, received: after.bytes_in - before.bytes_in } });
  } catch (thrown) {
    report("offline", thrown);
  }
}

/** What this tab wrote since it left. */
export function written(session: Session, { from }: Absence): readonly Seen[] {
  const seen = session.current.value?.seen.value ?? [];
  return seen.filter(({ at, patch }) => at >= from && patch.origin === "local");
}

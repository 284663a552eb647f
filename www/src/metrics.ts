/** The relay's metrics: OpenMetrics text, sampled into series. */

import { signal } from "@preact/signals";
import { report } from "./feed.js";
import { every } from "./pace.js";
import { rest } from "./rest.js";

/** Values by name and labels, as `name{labels}`. */
export type Sample = ReadonlyMap<string, number>;

export interface Sampled {
  at: number;
  values: Sample;
}

const SAMPLES_KEPT = 900;
const EVERY_MS = 2_000;

/** The samples of this session, oldest first. */
export const samples = signal<readonly Sampled[]>([]);

/** Reads the lines of values; `# …` lines tell about them. */
export function parse(text: string): Sample {
  const values = new Map<string, number>();
  for (const row of text.split("\n")) {
    if (row === "" || row.startsWith("#")) continue;
    const end = row.lastIndexOf("}");
    const space = row.indexOf(" ", end + 1);
    const value = Number(row.slice(space + 1).split(" ")[0]?.replace("+Inf", "Infinity"));
    if (space > 0 && !Number.isNaN(value)) values.set(row.slice(0, space), value);
  }
  return values;
}

export function latestOf(name: string): number | undefined {
  return samples.value.at(-1)?.values.get(name);
}

/** Growth per second between samples; nothing where the relay was started anew. */
export function rates(all: readonly Sampled[], name: string): (number | null)[] {
  return all.map(({ at, values }, index) => {
    const before = all[index - 1];
    const [old, now] = [before?.values.get(name), values.get(name)];
    if (!before || old === undefined || now === undefined || now < old) return null;
    return ((now - old) * 1000) / Math.max(1, at - before.at);
  });
}

export interface Bucket {
  /** Seconds, at most. */
  upTo: number;
  count: number;
}

/** A histogram's buckets, not accumulated, summed over its labels but `le`. */
export function histogram(values: Sample, name: string): Bucket[] {
  const sums = new Map<number, number>();
  for (const [key, value] of values) {
    if (!key.startsWith(`${name}_bucket{`)) continue;
    const upTo = Number(/le="([^"]+)"/.exec(key)?.[1]?.replace("+Inf", "Infinity"));
    sums.set(upTo, (sums.get(upTo) ?? 0) + value);
  }
  const sorted = [...sums].sort(([a], [b]) => a - b);
  return sorted.map(([upTo, sum], index) => ({ upTo, count: sum - (sorted[index - 1]?.[1] ?? 0) }));
}

/** Looks at the relay's metrics from now on, so that there is something to see in every view that is opened. */
export function watch(): void {
  let isAsking = false;
  every(EVERY_MS, () => {
    if (isAsking) return;
    isAsking = true;
    rest
      .metrics()
      .then((text) => {
        samples.value = [...samples.value, { at: Date.now(), values: parse(text) }].slice(-SAMPLES_KEPT);
      })
      .catch((thrown: unknown) => report("relay", `no metrics: ${(thrown as Error).message}`))
      .finally(() => (isAsking = false));
  });
}

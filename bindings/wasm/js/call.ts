/** Calls into the module, which cannot wait: what finds its document busy is tried again, in order. */

import type { Answer } from "./raw.js";

/** Longest pause before a call is tried again, in milliseconds. */
const PAUSE_MAX = 16;

/** The ends of the queues of objects that were busy. */
const queues = new Map<object, Promise<void>>();

const isBusy = (thrown: unknown): boolean =>
  typeof thrown === "object" && thrown !== null && "code" in thrown && thrown.code === "Busy";

/**
 * Calls a method. While the document is being loaded or worked on the module refuses at once, before anything is done:
 * then the answer is a promise, and later calls to the same object wait behind it.
 */
export function invoke(raw: object, method: PropertyKey, args: readonly unknown[]): Answer<unknown> {
  const act = (): Answer<unknown> => {
    const found = (raw as Record<PropertyKey, unknown>)[method] as (...args: readonly unknown[]) => Answer<unknown>;
    return found.apply(raw, args as unknown[]);
  };
  const before = queues.size > 0 ? queues.get(raw) : undefined;
  if (!before) {
    try {
      return act();
    } catch (thrown) {
      if (!isBusy(thrown)) throw thrown;
    }
  }
  return new Promise((resolve, reject) => {
    const turn = async (): Promise<void> => {
      await before;
      for (let pause = 1; ; pause = Math.min(2 * pause, PAUSE_MAX)) {
        try {
          return resolve(act());
        } catch (thrown) {
          if (!isBusy(thrown)) return reject(thrown);
        }
        await new Promise((again) => setTimeout(again, pause));
      }
    };
    const end = turn().then(() => {
      if (queues.get(raw) === end) queues.delete(raw);
    });
    queues.set(raw, end);
  });
}

/** `AbortSignal`s, and what ends a wait of the module: a promise that settles. */

import { AbortedError } from "./errors.js";
import type { Abort } from "./raw.js";

/** What waits can be given. */
export interface Waiting {
  /** Ends the wait with an {@link AbortedError}; what was done stays done. */
  signal?: AbortSignal | undefined;
}

const aborted = (signal: AbortSignal): AbortedError =>
  new AbortedError("Aborted", "the wait was ended by its signal", { cause: signal.reason });

/** Waits with a promise that settles when the signal aborts; the listener is gone when the wait is over. */
export async function abortable<T>(waiting: Waiting | undefined, wait: (abort: Abort) => Promise<T>): Promise<T> {
  const signal = waiting?.signal;
  if (!signal) return wait(undefined);
  if (signal.aborted) throw aborted(signal);
  let abort: () => void = () => {};
  const raised = new Promise<void>((resolve) => {
    abort = resolve;
    signal.addEventListener("abort", abort, { once: true });
  });
  // The module may be away, or busy: whoever aborts does not wait for it.
  const ended = raised.then(() => {
    throw aborted(signal);
  });
  try {
    return await Promise.race([wait(raised), ended]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

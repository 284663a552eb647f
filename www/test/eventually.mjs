// Waiting for what a document will hold, with a bound far above what it takes.

const PATIENCE_MS = 30_000;

/** Waits until it holds, looking whenever the document changes. */
export async function eventually(document, holds) {
  const changes = document.observe("", { signal: AbortSignal.timeout(PATIENCE_MS) });
  try {
    // Hearing ends when the time is up.
    while (!(await holds())) if ((await changes.next()).done) throw new Error(`never came true: ${holds}`);
  } finally {
    changes.stop();
  }
}

/** How often things are looked at: work that many changes ask for is done once, and not more often than is of use. */

/** Calls `work` soon, once for all calls within `ms`; a call during the work leads to another. */
export function paced(ms: number, work: () => Promise<void> | void): () => void {
  let state: "idle" | "waiting" | "working" | "again" = "idle";
  let last = -Infinity;
  const run = async (): Promise<void> => {
    state = "working";
    last = performance.now();
    try {
      await work();
    } finally {
      const again = (state as string) === "again";
      state = "idle";
      if (again) ask();
    }
  };
  const ask = (): void => {
    if (state === "working") state = "again";
    if (state !== "idle") return;
    state = "waiting";
    setTimeout(() => void run(), Math.max(0, last + ms - performance.now()));
  };
  return ask;
}

/** Calls `work` now and every `ms` while the page is seen; returns what ends it. */
export function every(ms: number, work: () => void): () => void {
  const look = (): void => {
    if (!document.hidden) work();
  };
  look();
  const timer = setInterval(look, ms);
  return () => clearInterval(timer);
}

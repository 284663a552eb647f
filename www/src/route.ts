/** Which view is shown: the part of the address after `#/`. */

import { signal } from "@preact/signals";

export const VIEWS = ["swarm", "flash", "document", "network", "offline"] as const;
export type View = (typeof VIEWS)[number];

function read(): View {
  const name = location.hash.replace(/^#\/?/, "").split("/")[0];
  return VIEWS.find((view) => view === name) ?? "swarm";
}

export const view = signal<View>(read());

addEventListener("hashchange", () => {
  // `#main` is the link that skips the navigation.
  if (location.hash.startsWith("#/")) view.value = read();
});

/** Shown at once: what is pressed next may come before the browser tells that the address has changed. */
export function go(to: View): void {
  view.value = to;
  location.hash = `#/${to}`;
}

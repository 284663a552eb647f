/** Light or dark: as the system has it, unless the reader chose. */

import { effect, signal } from "@preact/signals";

export type Choice = "system" | "light" | "dark";

const KEPT = "aepoch/theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = signal(system.matches);
system.addEventListener("change", () => (isDark.value = system.matches));

function kept(): Choice {
  try {
    const choice = localStorage.getItem(KEPT);
    return choice === "light" || choice === "dark" ? choice : "system";
  } catch {
    return "system";
  }
}

export const choice = signal<Choice>(kept());
/** What is shown. */
export const theme = signal<"light" | "dark">("light");

effect(() => {
  theme.value = choice.value === "system" ? (isDark.value ? "dark" : "light") : choice.value;
  document.documentElement.dataset["theme"] = theme.value;
});

export function choose(next: Choice): void {
  choice.value = next;
  try {
    localStorage.setItem(KEPT, next);
  } catch {
    // It lasts as long as the page does.
  }
}

export const wantsStillness = matchMedia("(prefers-reduced-motion: reduce)");

/** A colour of the theme in use, for what is drawn. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Pieces every view is made of. */

import type { Signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";

export function Panel({ title, aside, children, fills }: { title: string; aside?: ComponentChildren; children: ComponentChildren; fills?: boolean }): JSX.Element {
  const id = useId();
  return (
    <section class={`panel ${fills ? "fills" : ""}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

export function Facts({ children }: { children: ComponentChildren }): JSX.Element {
  return <dl class="facts">{children}</dl>;
}

export function Fact({ name, value, tone, note }: { name: string; value: ComponentChildren; tone?: "good" | "warn" | "bad" | undefined; note?: string | undefined }): JSX.Element {
  return (
    <div class={`fact ${tone ? `fact-${tone}` : ""}`}>
      <dt>{name}</dt>
      <dd>
        {value}
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

/** The field `/` goes to. */
export function Filter({ of, label }: { of: Signal<string>; label: string }): JSX.Element {
  return (
    <input
      class="filter"
      type="search"
      aria-label={label}
      aria-keyshortcuts="/"
      placeholder={`${label}  /`}
      value={of.value}
      onInput={(event) => (of.value = event.currentTarget.value)}
    />
  );
}

export function Dim({ children }: { children: string }): JSX.Element {
  return <span class="dim">{children}</span>;
}

export function Lamp({ tone, children }: { tone: "good" | "warn" | "bad" | "quiet"; children: ComponentChildren }): JSX.Element {
  return (
    <span class={`lamp lamp-${tone}`}>
      <i aria-hidden="true" />
      {children}
    </span>
  );
}

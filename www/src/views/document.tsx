/** Document: all it holds, edited in place; who wrote what, and what was written at the same time. */

import type { Candidate, Value } from "aepoch";
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { attempt, report } from "../feed.js";
import { bytes, clock, count, line } from "../format.js";
import { pathOf, type OpenDocument, type Seen } from "../open-document.js";
import { Dim, Fact, Facts, Filter, Panel } from "../pieces.js";
import { session, writerName } from "../session.js";
import { described, difference, type Edit } from "../undo.js";
import { VirtualRows, type Column } from "../virtual-rows.js";
import { AddForm } from "./add-form.js";
import { HistoryPanel } from "./history.js";

/** One leaf of the tree. */
interface Leaf {
  path: string;
  section: string;
  name: string;
  /** Key or position. */
  within: string | number | undefined;
  value: Value;
  author: string | undefined;
  conflict: readonly Candidate<Value>[] | undefined;
}

const wanted = signal("");
/** Sections that can be edited; the others have writers of their own. */
const EDITED = new Set(["register", "map", "list", "text", "counter"]);
const ORDER = ["register", "counter", "map", "list", "text", "agent", "member", "coordination"];

function leaves(document: OpenDocument): Leaf[] {
  const found: Leaf[] = [];
  const past = document.history?.past.value;
  // In the past there is content alone, and whose it was is not told.
  const tree = past ? past.tree : document.tree.value;
  const [authors, conflicts] = [document.authors.value, document.conflicts.value];
  const text = wanted.value.toLowerCase();
  const add = (section: string, name: string, within: string | number | undefined, value: Value): void => {
    const path = pathOf(section, name, within ?? null);
    if (text && !`${path} ${line(value)}`.toLowerCase().includes(text)) return;
    const author = past ? undefined : authors.get(section === "map" ? path : pathOf(section, name));
    found.push({ path, section, name, within, value, author, conflict: section === "register" && !past ? conflicts.get(name) : undefined });
  };
  for (const section of ORDER) {
    for (const [name, value] of Object.entries(tree[section] ?? {})) {
      if (section === "list" && Array.isArray(value)) value.forEach((one, index) => add(section, name, index, one));
      else if ((section === "map" || section === "agent") && isObject(value)) for (const [key, one] of Object.entries(value)) add(section, name, key, one);
      else add(section, name, undefined, value);
    }
  }
  return found;
}

function isObject(value: Value): value is { [key: string]: Value } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the reader typed: JSON, or else a text. */
export function typed(text: string): Value {
  try {
    return JSON.parse(text) as Value;
  } catch {
    return text;
  }
}

function shown(value: Value): string {
  // A text that reads as JSON needs its quotes to stay a text.
  return typeof value === "string" && typeof typed(value) === "string" ? value : JSON.stringify(value);
}

function editOf({ section, name, within, value }: Leaf, text: string): Edit | undefined {
  const to = typed(text);
  switch (section) {
    case "register":
      return { kind: "register", name, from: value, to };
    case "map":
      return { kind: "map", name, key: String(within), from: value, to };
    case "list":
      return { kind: "list", name, at: Number(within), removed: [value], inserted: [to] };
    case "text":
      return difference(name, String(value), text);
    case "counter": {
      if (typeof to !== "number" || !Number.isInteger(to)) throw new TypeError("a counter takes whole numbers");
      return { kind: "counter", name, by: to - Number(value) };
    }
    default:
      return undefined;
  }
}

function removal({ section, name, within, value }: Leaf): Edit | undefined {
  switch (section) {
    case "register":
      return { kind: "register", name, from: value, to: undefined };
    case "map":
      return { kind: "map", name, key: String(within), from: value, to: undefined };
    case "list":
      return { kind: "list", name, at: Number(within), removed: [value], inserted: [] };
    default:
      return undefined;
  }
}

export function DocumentView(): JSX.Element {
  const document = session.value?.current.value;
  useEffect(() => {
    if (!document) return undefined;
    const press = (event: KeyboardEvent): void => {
      const isField = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
      if (isField || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      attempt("edit", () => (event.shiftKey ? document.undo.redo() : document.undo.undo()));
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [document]);
  if (!document) return <p class="nothing">No document is open.</p>;
  const all = leaves(document);
  const isPast = document.history?.past.value !== undefined;
  const [status, conflicts, { undo }] = [document.status.value, document.conflicts.value, document];
  const [done, undone] = [undo.done.value.at(-1), undo.undone.value.at(-1)];
  return (
    <>
      <Facts>
        <Fact name="engine" value={document.engine} />
        <Fact name="size" value={bytes(status?.weight ?? 0)} />
        <Fact name="entries" value={count(all.length)} />
        <Fact name="conflicts" value={count(conflicts.size)} tone={conflicts.size > 0 ? "warn" : undefined} />
        <Fact name="unsynced" value={count(status?.unsynced ?? 0)} tone={status?.unsynced ? "warn" : undefined} note={status?.stalled ?? undefined} />
      </Facts>
      {conflicts.size > 0 && (
        <Panel title="Written at the same time">
          <ul class="conflicts">
            {[...conflicts].slice(0, 50).map(([name, values]) => (
              <li key={name}>
                <b>{name}</b>
                <span class="choices">
                  {values.map(({ writer, at, value, cleared }) => (
                    <button key={String(writer)} onClick={() => attempt("edit", () => undo.apply({ kind: "register", name, from: document.tree.value["register"]?.[name], to: cleared ? undefined : (value ?? null) }))}>
                      <span class="value">{cleared ? "cleared" : line(value)}</span>
                      <small>
                        {writerName(writer)}, {clock(at)}
                      </small>
                    </button>
                  ))}
                </span>
              </li>
            ))}
          </ul>
        </Panel>
      )}
      {document.history && <HistoryPanel history={document.history} />}
      <Panel
        title={isPast ? `${document.name}, as it was` : document.name}
        fills
        aside={
          <div class="tools">
            <button disabled={!done} aria-keyshortcuts="Control+Z" title={done && `Undo: ${described(done)}`} onClick={() => attempt("edit", () => undo.undo())}>Undo</button>
            <button disabled={!undone} aria-keyshortcuts="Control+Shift+Z" title={undone && `Redo: ${described(undone)}`} onClick={() => attempt("edit", () => undo.redo())}>Redo</button>
            <Filter of={wanted} label="Filter entries" />
          </div>
        }
      >
        <VirtualRows label={`Entries of ${document.name}`} rows={all} columns={columnsOf(document, isPast)} keyOf={({ path }) => path} toneOf={({ conflict }) => (conflict ? "warn" : undefined)} empty={wanted.value ? "No entry goes by that." : "It is empty."} />
      </Panel>
      <div class="pair">
        <Panel title="Add">
          <AddForm document={document} />
        </Panel>
        <Panel title="Changes seen">
          <VirtualRows label="Changes seen, newest first" rows={document.seen.value} columns={seenColumns} keyOf={({ number }) => String(number)} empty="None since this tab opened it." height={230} />
        </Panel>
      </div>
    </>
  );
}

function columnsOf(document: OpenDocument, isPast: boolean): Column<Leaf>[] {
  const columns: Column<Leaf>[] = [
    { title: "Kind", width: "10ch", cell: ({ section }) => <span class="kind">{section}</span>, order: (a, b) => ORDER.indexOf(a.section) - ORDER.indexOf(b.section) },
    { title: "Name", width: "minmax(14ch, 1.1fr)", cell: ({ name, within }) => <span title={within === undefined ? name : `${name}/${within}`}>{within === undefined ? <b>{name}</b> : <><span class="dim">{name} / </span><b>{within}</b></>}</span>, order: (a, b) => a.path.localeCompare(b.path) },
    { title: "Value", width: "minmax(20ch, 2.6fr)", cell: (leaf) => (isPast ? <span title={line(leaf.value)}>{line(leaf.value)}</span> : <ValueCell key={leaf.path} leaf={leaf} document={document} />) },
    { title: "Written by", width: "minmax(10ch, 0.8fr)", cell: ({ author }) => (author ? writerName(author) : <Dim>before</Dim>) },
    {
      title: "Do",
      width: "12ch",
      cell: (leaf) => {
        const edit = removal(leaf);
        return edit ? <button aria-label={`Remove ${leaf.path}`} onClick={() => attempt("edit", () => document.undo.apply(edit))}>Remove</button> : null;
      },
    },
  ];
  return isPast ? columns.slice(0, 3) : columns;
}

function ValueCell({ leaf, document }: { leaf: Leaf; document: OpenDocument }): JSX.Element {
  const [draft, setDraft] = useState<string | undefined>();
  const button = useRef<HTMLButtonElement>(null);
  const [wasEdited, setWasEdited] = useState(false);
  useEffect(() => {
    if (draft === undefined && wasEdited) button.current?.focus();
  }, [draft]);
  if (!EDITED.has(leaf.section)) return <span title={line(leaf.value)}>{line(leaf.value)}</span>;
  if (draft === undefined) {
    const begin = (): void => {
      setWasEdited(true);
      setDraft(leaf.section === "text" ? String(leaf.value) : shown(leaf.value));
    };
    return (
      <button ref={button} class="value" title="Edit" aria-label={`Edit ${leaf.path}: ${line(leaf.value)}`} onClick={begin}>
        {line(leaf.value) || "empty"}
      </button>
    );
  }
  const save = (): void => {
    setDraft(undefined);
    try {
      const edit = editOf(leaf, draft);
      if (edit && draft !== shown(leaf.value)) attempt("edit", () => document.undo.apply(edit));
    } catch (thrown) {
      report("edit", thrown);
    }
  };
  return (
    <input
      class="value"
      aria-label={`Value of ${leaf.path}, JSON or text; Enter saves, Escape does not`}
      value={draft}
      ref={(element) => {
        if (element && element.ownerDocument.activeElement !== element) element.focus();
      }}
      onInput={(event) => setDraft(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") save();
        if (event.key === "Escape") setDraft(undefined);
      }}
      onBlur={() => setDraft(undefined)}
    />
  );
}

const seenColumns: Column<Seen>[] = [
  { title: "At", width: "10ch", cell: ({ at }) => clock(at) },
  { title: "By", width: "minmax(9ch, 0.8fr)", cell: ({ patch }) => (patch.writer === null ? <Dim>–</Dim> : writerName(patch.writer)) },
  { title: "What", width: "minmax(14ch, 1.2fr)", cell: ({ patch: { path } }) => <span>{pathOf(path.section, path.name, path.within)}</span> },
  { title: "How", width: "minmax(14ch, 2fr)", cell: ({ patch: { change } }) => <span>{told(change)}</span> },
];

export function told(change: Seen["patch"]["change"]): string {
  if ("put" in change) return change.put.new === null ? "removed" : line(change.put.new);
  if ("format" in change) return `formatted ${change.format.len}`;
  const { removed, inserted } = change.splice;
  return [removed > 0 ? `−${removed}` : "", inserted.length > 0 ? `+ ${inserted.map(line).join(", ")}` : ""].filter(Boolean).join(" ");
}

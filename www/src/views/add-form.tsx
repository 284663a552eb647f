/** Adds something to a document, as an edit that can be taken back. */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { attempt } from "../feed.js";
import type { OpenDocument } from "../open-document.js";
import type { Edit } from "../undo.js";
import { typed } from "./document.js";

type Kind = Edit["kind"];
const KINDS: Kind[] = ["register", "map", "list", "text", "counter"];

export function AddForm({ document }: { document: OpenDocument }): JSX.Element {
  const id = useId();
  const [kind, setKind] = useState<Kind>("register");
  const [name, setName] = useState("");
  const [key, setKey] = useState("");
  const [text, setText] = useState("");
  const isReady = name !== "" && text !== "" && (kind !== "map" || key !== "") && (kind !== "counter" || Number.isInteger(Number(text)));
  const add = (event: SubmitEvent): void => {
    event.preventDefault();
    if (!isReady) return;
    const tree = document.tree.value;
    attempt("edit", () => document.undo.apply(edit(kind, name, key, text, tree)));
    setText("");
  };
  return (
    <form class="add" onSubmit={add}>
      <label for={`${id}k`}>kind</label>
      <select id={`${id}k`} value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
        {KINDS.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <label for={`${id}n`}>name</label>
      <input id={`${id}n`} value={name} onInput={(event) => setName(event.currentTarget.value)} />
      {kind === "map" && (
        <>
          <label for={`${id}e`}>key</label>
          <input id={`${id}e`} value={key} onInput={(event) => setKey(event.currentTarget.value)} />
        </>
      )}
      <label for={`${id}v`}>{kind === "counter" ? "add" : kind === "text" ? "text, at the end" : "value, JSON or text"}</label>
      <input id={`${id}v`} value={text} inputMode={kind === "counter" ? "numeric" : "text"} onInput={(event) => setText(event.currentTarget.value)} />
      <button class="primary" disabled={!isReady}>Write</button>
    </form>
  );
}

function edit(kind: Kind, name: string, key: string, text: string, tree: OpenDocument["tree"]["value"]): Edit {
  switch (kind) {
    case "register":
      return { kind, name, from: tree["register"]?.[name], to: typed(text) };
    case "map": {
      const map = tree["map"]?.[name];
      const from = typeof map === "object" && map !== null && !Array.isArray(map) ? map[key] : undefined;
      return { kind, name, key, from, to: typed(text) };
    }
    case "list": {
      const list = tree["list"]?.[name];
      return { kind, name, at: Array.isArray(list) ? list.length : 0, removed: [], inserted: [typed(text)] };
    }
    case "text":
      return { kind, name, at: [...String(tree["text"]?.[name] ?? "")].length, removed: "", inserted: text };
    case "counter":
      return { kind, name, by: Number(text) };
  }
}

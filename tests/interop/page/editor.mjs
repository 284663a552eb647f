// CodeMirror with its Yjs binding, over y-websocket.

import { defaultKeymap } from "@codemirror/commands";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const asked = Object.fromEntries(new URLSearchParams(location.search));
const doc = new Y.Doc();
const text = doc.getText("notes");
const provider = new WebsocketProvider(asked.relay, asked.room, doc, {
  // Tabs of one browser would speak to each other past the relay.
  disableBc: true,
  maxBackoffTime: 200,
});
// A cursor is to go because the relay says so, and not because nobody has heard of it for half a minute.
clearInterval(provider.awareness._checkInterval);
provider.awareness.setLocalStateField("user", { name: asked.name, color: asked.colour });

const view = new EditorView({
  parent: document.querySelector("main"),
  state: EditorState.create({
    doc: text.toString(),
    extensions: [
      lineNumbers(),
      keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
      yCollab(text, provider.awareness, { undoManager: new Y.UndoManager(text) }),
    ],
  }),
});

Object.assign(window, { provider, view });

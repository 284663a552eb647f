// Clients of the y-websocket wire that are little more than a socket: a thousand providers would keep each other busy with
// a million awareness states, and this process with them.

import { createDecoder, readVarUint } from "lib0/decoding";
import { createEncoder, length, toUint8Array, writeVarUint } from "lib0/encoding";
import { messageYjsSyncStep2, readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";

import { WebSocket, Y } from "./stage.mjs";

const SYNC = 0;
const PAUSE_MS = 100;

/** One that comes back whenever its connection ends, until the test does. What turned it away is added to `refusals`. */
export function member(t, at, document, refusals) {
  const doc = new Y.Doc();
  let socket, synced, ended;
  const say = (write) => {
    const encoder = createEncoder();
    writeVarUint(encoder, SYNC);
    write(encoder);
    // The kind alone is an answer to nothing.
    if (length(encoder) > 1) socket.send(toUint8Array(encoder));
  };
  const connect = () => {
    synced = false;
    socket = new WebSocket(`${at.url}/yjs/band/${document}`, { perMessageDeflate: false });
    socket.on("open", () => say((encoder) => writeSyncStep1(encoder, doc)));
    socket.on("message", (data) => {
      const decoder = createDecoder(data);
      if (readVarUint(decoder) !== SYNC) return;
      say((encoder) => {
        if (readSyncMessage(decoder, encoder, doc, socket) === messageYjsSyncStep2) synced = true;
      });
    });
    socket.on("unexpected-response", (_, { statusCode }) => {
      refusals.push(statusCode);
      socket.terminate();
    });
    // There is no relay for a while.
    socket.on("error", () => {});
    socket.on("close", (code) => {
      if (ended) return;
      if (code >= 4000) refusals.push(code);
      setTimeout(connect, PAUSE_MS);
    });
  };
  doc.on("update", (update, origin) => {
    if (origin !== socket && socket.readyState === WebSocket.OPEN) say((encoder) => writeUpdate(encoder, update));
  });
  connect();
  t.after(() => {
    ended = true;
    socket.terminate();
  });
  return { doc, isSynced: () => synced };
}

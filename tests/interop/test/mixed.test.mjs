// All libraries in one document, many connections, slow ones, and what only one of them has.

import assert from "node:assert/strict";

import { HocuspocusProviderWebsocket } from "@hocuspocus/provider";

import { agent, client, clients, read, relay, test, until, WebSocket, Y } from "./stage.mjs";

test("every library and an agent in one document", async (t) => {
  const at = await relay(t);
  const all = await Promise.all(Object.keys(clients).map((library) => client(t, library, at, "stage")));
  for (const [n, { doc }] of all.entries()) {
    doc.getMap("m").set(`from-${n}`, n);
    doc.getText("notes").insert(0, `${n}`);
  }
  await agent(at, "stage", "state", "set", "map/m/from-agent", "true");
  for (const { doc } of all) {
    await until(() => doc.getMap("m").size === all.length + 1 && doc.getText("notes").length === all.length);
  }
  const texts = new Set(all.map(({ doc }) => doc.getText("notes").toString()));
  assert.equal(texts.size, 1);
  assert.equal(await read(at, "stage", "text/notes"), [...texts][0]);
  for (const [n, one] of all.entries()) one.awareness.setLocalStateField("n", n);
  for (const { awareness } of all) {
    await until(() => [...awareness.getStates().values()].filter(({ n }) => n !== undefined).length === all.length);
  }
});

/** A client of the y-websocket wire that reads only when it is told to. */
async function raw(t, at, document) {
  const socket = new WebSocket(`${at.url}/yjs/band/${document}`);
  socket.binaryType = "arraybuffer";
  await new Promise((open, failed) => socket.once("open", open).once("error", failed));
  t.after(() => socket.terminate());
  const closed = new Promise((found) => socket.once("close", (code, reason) => found([code, String(reason)])));
  return { socket, closed };
}

test("who does not read is sent the outcome, and not all that led to it", async (t) => {
  const at = await relay(t);
  const writer = await client(t, "y-websocket 3", at, "stage");
  const { socket } = await raw(t, at, "stage");
  let bytes = 0;
  const doc = new Y.Doc();
  socket.on("message", (data) => {
    bytes += data.byteLength;
    const frame = new Uint8Array(data);
    if (frame[0] !== 0 || frame[1] === 0) return;
    let at = 2;
    while (frame[at++] & 0x80);
    Y.applyUpdate(doc, frame.subarray(at));
  });
  socket.send(Uint8Array.of(0, 0, 1, 0));
  await until(() => bytes > 0);
  socket.pause();
  const value = "x".repeat(50_000);
  for (let n = 0; n < 600; n++) {
    writer.doc.getMap("m").set("k", `${n} ${value}`);
    // So that they do not all leave as one.
    if (n % 4 === 0) await new Promise((next) => setTimeout(next, 1));
  }
  await until(async () => String(await read(at, "stage", "map/m/k")).startsWith("599"));
  socket.resume();
  await until(() => String(doc.getMap("m").get("k")).startsWith("599"));
  assert.ok(bytes < 600 * value.length * 0.8, `${bytes} bytes`);
});

test("who is not let in, or asks for what is no room, is told so with a final code", async (t) => {
  const at = await relay(t, "--guests", "none");
  const closed = async (url) => {
    const socket = new WebSocket(url);
    return new Promise((found) => socket.once("close", (code, reason) => found([code, String(reason)])));
  };
  const [code, reason] = await closed(`${at.url}/yjs/band/stage?token=secret`);
  assert.equal(code, 4401);
  assert.match(reason, /--guests/);
  assert.equal((await closed(`${at.url}/hocuspocus`))[0], 4401);
  const one = await client(t, "y-websocket 3", at, "stage", { waits: false });
  const [terminal] = await new Promise((found) => one.provider.once("closed", (...args) => found(args)));
  assert.equal(terminal.code, 4401);
  const open = await relay(t);
  assert.equal((await closed(`${open.url}/yjs/Band/Stage`))[0], 4400);
  assert.equal((await closed(`${open.url}/yjs/a//b`))[0], 4400);
});

test("a token in the address or as a subprotocol does no harm", async (t) => {
  const at = await relay(t);
  const provider = { params: { token: "secret" }, protocols: ["bearer.secret"] };
  const a = await client(t, "y-websocket 3", at, "stage", { provider });
  assert.equal(a.provider.ws.protocol, "bearer.secret");
});

test("malformed frames close the connection, and nobody else's", async (t) => {
  const at = await relay(t);
  const a = await client(t, "y-websocket 3", at, "stage");
  for (const frame of [[], [0], [0, 9, 0], [0, 0, 5, 1], [0, 2, 1, 0], [1, 3, 1, 7, 1], [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]]) {
    const { socket, closed } = await raw(t, at, "stage");
    socket.send(Uint8Array.from(frame));
    assert.deepEqual([frame, (await closed)[0]], [frame, 4400]);
  }
  const { socket, closed } = await raw(t, at, "stage");
  socket.send("text");
  assert.equal((await closed)[0], 4400);
  a.doc.getMap("m").set("k", 1);
  await until(async () => (await read(at, "stage", "map/m/k")) === 1);
});

test("y-websocket asks again and again what it lacks", async (t) => {
  const at = await relay(t);
  const a = await client(t, "y-websocket 3", at, "stage", { provider: { resyncInterval: 20 } });
  const b = await client(t, "y-websocket 2", at, "stage", { provider: { resyncInterval: 20 } });
  for (let n = 0; n < 20; n++) {
    a.doc.getText("notes").insert(0, "x");
    await until(() => b.doc.getText("notes").length === n + 1);
  }
  assert.equal(await read(at, "stage", "text/notes"), "x".repeat(20));
});

test("who asks again and again while nothing happens is told little, and changes nothing", async (t) => {
  const at = await relay(t);
  const a = await client(t, "y-websocket 3", at, "stage", { provider: { resyncInterval: 100 } });
  a.doc.getText("notes").insert(0, "x".repeat(10_000));
  a.doc.getText("notes").delete(0, 5_000);
  await agent(at, "stage", "state", "set", "map/m/agent", "1");
  await until(() => a.doc.getMap("m").get("agent") === 1);
  await until(async () => (await read(at, "stage", "text/notes"))?.length === 5_000);
  let [frames, bytes, updates] = [0, 0, 0];
  a.doc.on("update", () => updates++);
  a.provider.ws.addEventListener("message", ({ data }) => {
    frames++;
    bytes += data.byteLength;
  });
  await until(() => frames >= 10);
  assert.equal(updates, 0);
  // An answer repeats what was deleted: of that a client says nothing when it asks.
  assert.ok(bytes < frames * 50, `${bytes} bytes in ${frames} frames`);
  assert.ok(a.provider.synced);
});

test("undo takes back what was one's own, whatever others and an agent did meanwhile", async (t) => {
  const at = await relay(t);
  const [a, b] = [await client(t, "y-websocket 3", at, "stage"), await client(t, "hocuspocus 4", at, "stage")];
  const notes = [a, b].map(({ doc }) => doc.getText("notes"));
  const both = (text) => until(() => notes.every((one) => one.toString() === text));
  const undo = notes.map((one) => new Y.UndoManager([one, one.doc.getMap("m")], { captureTimeout: 0 }));
  notes[0].insert(0, "one ");
  a.doc.getMap("m").set("k", "a");
  await both("one ");
  notes[1].insert(4, "two ");
  await both("one two ");
  await until(() => b.doc.getMap("m").get("k") === "a");
  // What an agent sets of a text goes to its end.
  await agent(at, "stage", "state", "set", "text/notes", "three");
  await agent(at, "stage", "state", "set", "map/m/other", '"agent"');
  await both("one two three");
  undo[1].undo();
  await both("one three");
  undo[0].undo();
  await until(() => !b.doc.getMap("m").has("k"));
  undo[0].undo();
  await both("three");
  assert.equal(await read(at, "stage", "text/notes"), "three");
  undo[1].redo();
  undo[0].redo();
  undo[0].redo();
  await both("one two three");
  await until(() => b.doc.getMap("m").get("k") === "a" && b.doc.getMap("m").get("other") === "agent");
  assert.equal(await read(at, "stage", "text/notes"), "one two three");
  // What somebody else has overwritten since is left to them.
  a.doc.getMap("m").set("k", "b");
  await until(() => b.doc.getMap("m").get("k") === "b");
  await agent(at, "stage", "state", "set", "map/m/k", '"agent"');
  await until(() => a.doc.getMap("m").get("k") === "agent");
  undo[0].undo();
  assert.equal(a.doc.getMap("m").get("k"), "agent");
  assert.equal(await read(at, "stage", "map/m/k"), "agent");
});

test("a Hocuspocus socket carries several documents, and what is not kept", async (t) => {
  const at = await relay(t);
  const socket = new HocuspocusProviderWebsocket({ url: `${at.url}/hocuspocus`, WebSocketPolyfill: WebSocket });
  t.after(() => socket.destroy());
  const [one, two] = [
    await client(t, "hocuspocus 4", at, "one", { socket }),
    await client(t, "hocuspocus 4", at, "two", { socket, provider: { sessionAwareness: true } }),
  ];
  assert.equal(one.provider.authorizedScope, "read-write");
  one.doc.getMap("m").set("k", 1);
  two.doc.getMap("m").set("k", 2);
  await until(() => !one.provider.hasUnsyncedChanges && !two.provider.hasUnsyncedChanges);
  assert.equal(await read(at, "one", "map/m/k"), 1);
  assert.equal(await read(at, "two", "map/m/k"), 2);
  const other = await client(t, "hocuspocus 4", at, "two");
  const heard = new Promise((found) => other.provider.on("stateless", ({ payload }) => found(payload)));
  two.provider.sendStateless("psst");
  assert.equal(await heard, "psst");
  two.provider.forceSync();
  await until(() => !two.provider.hasUnsyncedChanges);
  // One goes, the other stays.
  one.provider.detach();
  two.doc.getMap("m").set("k", 3);
  await until(() => other.doc.getMap("m").get("k") === 3);
});

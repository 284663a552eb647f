// automerge-repo by itself: two of its repos, and an agent.

import assert from "node:assert/strict";

import { next as A } from "@automerge/automerge";
import { parseAutomergeUrl, Repo } from "@automerge/automerge-repo";

import { adapterOf, agent, read, relay, test, until } from "./stage.mjs";

/** A repo that keeps its documents in memory and knows the relay alone. */
function repo(t, at, name, path = "/automerge/band") {
  const adapter = adapterOf(`${at.url}${path}`);
  const made = new Repo({ peerId: name, network: [adapter] });
  // A repo that shuts down waits for documents nobody has.
  t.after(() => adapter.socket && adapter.disconnect());
  return Object.assign(made, { adapter });
}

/** What the swarm calls a document. */
const nameOf = (url) => Buffer.from(parseAutomergeUrl(url).binaryDocumentId).toString("hex");

/** Runs the program as an agent in a repo's document. */
const inAgent = (at, url, ...args) => agent(at, nameOf(url), ...args);

test("automerge-repo: what one creates another finds, and both edit it", async (t) => {
  const at = await relay(t);
  const [a, b] = [repo(t, at, "ada"), repo(t, at, "bob")];
  const first = a.create({ title: "tour", songs: ["one"], lights: { left: { colour: "red" } }, notes: "soft", plays: new A.Counter(1) });
  const second = await b.find(first.url);
  assert.deepEqual(second.doc().lights, { left: { colour: "red" } });
  second.change((doc) => {
    A.splice(doc, ["notes"], 4, 0, " 🎸 loud");
    doc.songs.push("two");
    doc.plays.increment(2);
    delete doc.lights.left;
  });
  first.change((doc) => {
    A.splice(doc, ["notes"], 0, 0, "very ");
    doc.when = new Date(1000);
    doc.bytes = new Uint8Array([1, 2, 3]);
  });
  await until(() => first.doc().notes === "very soft 🎸 loud" && second.doc().when);
  await until(() => A.getHeads(first.doc()).join() === A.getHeads(second.doc()).join());
  assert.deepEqual(second.doc().songs, ["one", "two"]);
  assert.equal(first.doc().plays.value, 3);
  assert.deepEqual([...second.doc().bytes], [1, 2, 3]);
});

test("automerge-repo: an agent and a repo edit one document", async (t) => {
  const at = await relay(t);
  const a = repo(t, at, "ada");
  const handle = a.create({ lights: { left: "red" }, notes: "hello" });
  await until(async () => (await read(at, nameOf(handle.url), "text/notes")) === "hello");
  assert.equal(await read(at, nameOf(handle.url), "map/lights/left"), "red");
  await inAgent(at, handle.url, "state", "set", "map/lights/right", '"green"');
  await inAgent(at, handle.url, "state", "set", "text/notes", " world");
  await inAgent(at, handle.url, "state", "set", "map/agents/own", "1");
  await until(() => handle.doc().agents?.own === 1);
  // What an agent puts into a map is replaced as a whole, which this library shows as a string of its own kind.
  assert.deepEqual(Object.values(handle.doc().lights).map(String), ["red", "green"]);
  assert.equal(handle.doc().notes, "hello world");
  handle.change((doc) => (doc.agents.own = 2));
  await until(async () => (await read(at, nameOf(handle.url), "map/agents/own")) === 2);
});

test("automerge-repo: what is said reaches the others and is not kept", async (t) => {
  const at = await relay(t);
  const [a, b, c] = ["ada", "bob", "cy"].map((name) => repo(t, at, name));
  const first = a.create({ k: 1 });
  const others = await Promise.all([b, c].map((one) => one.find(first.url)));
  const heard = others.map(() => []);
  others.forEach((handle, n) => handle.on("ephemeral-message", ({ senderId, message }) => heard[n].push([senderId, message])));
  first.broadcast({ cursor: 7 });
  await until(() => heard.every((one) => one.length > 0));
  assert.deepEqual(heard, [[["ada", { cursor: 7 }]], [["ada", { cursor: 7 }]]]);
});

test("automerge-repo: what was done offline is there when both are back", async (t) => {
  const at = await relay(t);
  const [a, b] = [repo(t, at, "ada"), repo(t, at, "bob")];
  const first = a.create({ notes: "middle" });
  const second = await b.find(first.url);
  await at.kill();
  first.change((doc) => A.splice(doc, ["notes"], 0, 0, "left "));
  second.change((doc) => A.splice(doc, ["notes"], 6, 0, " right"));
  const alone = b.create({ made: "offline" });
  await at.start();
  for (const handle of [first, second]) await until(() => handle.doc().notes === "left middle right");
  const found = await a.find(alone.url);
  assert.deepEqual(found.doc(), { made: "offline" });
});

test("automerge-repo: what the relay says it has survives its death", async (t) => {
  const at = await relay(t);
  const a = repo(t, at, "ada");
  const handle = a.create({ keys: {} });
  for (let n = 0; n < 100; n++) handle.change((doc) => (doc.keys[`k${n}`] = n));
  // The heads of the relay's storage: told once they are durable.
  const storage = await until(() => a.peers.length && a.getStorageIdOfPeer(a.peers[0]));
  await until(() => handle.getSyncInfo(storage)?.lastHeads.join() === handle.heads().join());
  await at.kill();
  if (a.adapter.socket) a.adapter.disconnect();
  await at.start();
  const copy = await repo(t, at, "bob").find(handle.url);
  assert.equal(Object.keys(copy.doc().keys).length, 100);
});

test("automerge-repo: what nobody has is unavailable, and is there once somebody brings it", async (t) => {
  const at = await relay(t);
  const elsewhere = new Repo({ network: [] });
  const made = elsewhere.create({ late: true });
  const a = repo(t, at, "ada");
  await assert.rejects(a.find(made.url), /unavailable/);
  const b = repo(t, at, "bob");
  b.import(await elsewhere.export(made.url), { docId: made.documentId });
  await until(async () => (await a.find(made.url, { allowableStates: ["unavailable", "ready"] })).isReady());
  assert.deepEqual((await a.find(made.url)).doc(), { late: true });
});

test("automerge-repo: who may only read sees everything and changes nothing", async (t) => {
  const at = await relay(t);
  const a = repo(t, at, "ada");
  const handle = a.create({ k: 1, notes: "here" });
  // An agent that came first would make a document held with yrs.
  await until(async () => (await read(at, nameOf(handle.url), "text/notes")) === "here");
  await inAgent(at, handle.url, "state", "set", "map/more/k", "1");
  await until(() => handle.doc().more?.k === 1);
  await at.kill();
  await at.start("--guests", "read");
  const [b, c] = [repo(t, at, "bob"), repo(t, at, "cy")];
  const [second, third] = [await b.find(handle.url), await c.find(handle.url)];
  assert.equal(second.doc().k, 1);
  // Of a hundred changes automerge holds back one, which its filter takes for known, and nobody asks for it here.
  await until(async () => {
    second.change((doc) => (doc.k += 1));
    return (await at.metric('aepoch_wire_refused_total{wire="automerge"}')) > 0;
  });
  await inAgent(at, handle.url, "state", "set", "map/more/k", "2");
  await until(() => third.doc().more.k === 2 && second.doc().more.k === 2);
  assert.equal(third.doc().k, 1);
});

test("automerge-repo: a repo that takes no guests says so, and nobody crashes", async (t) => {
  const at = await relay(t, "--guests", "none");
  const a = repo(t, at, "ada");
  const handle = a.create({ k: 1 });
  await until(() => a.adapter.socket?.readyState === WebSocket.CLOSED);
  assert.equal(a.peers.length, 0);
  assert.equal(handle.doc().k, 1);
});

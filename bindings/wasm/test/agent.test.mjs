// The package in Node with its real module, against a real relay: what one agent does, another sees.

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  AbortedError,
  Agent,
  ClosedError,
  DocumentError,
  NameError,
  NodeError,
  StorageUnavailableError,
  WrongPhaseError,
} from "aepoch";
import { until } from "./memory.mjs";
import { relay } from "./relay.mjs";

let at;
before(async () => {
  at = await relay();
});
after(() => at.stop());

let swarms = 0;

/** Agents of a swarm of their own, by name. */
async function swarm(t, ...names) {
  const name = `swarm-${swarms++}`;
  const agents = await Promise.all(names.map((agent) => Agent.open({ name: agent, swarm: name, connect: at.address })));
  t.after(() => Promise.all(agents.map((agent) => agent.close())));
  return agents;
}

/** Waits until a document says so, looking whenever it changes. */
async function when(document, holds) {
  const changes = document.observe();
  try {
    while (!(await holds())) await changes.next();
  } finally {
    changes.stop();
  }
}

test("every type converges between two agents", async (t) => {
  const [a, b] = await swarm(t, "a", "b");
  const [left, right] = [await a.document("stage"), await b.document("stage")];
  await left.register("setlist").set(["intro", "outro"]);
  await left.counter("takes").add(2);
  await right.counter("takes").add(-1);
  await left.map("lights").put("left", { colour: "red" });
  await left.set("guests").insert("ann");
  await left.list("songs").insert(0, "one", "three");
  await left.list("songs").insert(1, "two");
  await left.list("songs").push("four");
  await left.list("songs").remove(0);
  await left.text("notes").insert(0, "soft 🎸 loud");
  await left.text("notes").format(0, 4, "bold", true);
  await left.text("notes").remove(4, 6);
  await left.flush();
  await right.flush();
  await when(right, async () => (await right.digest()) === (await left.digest()));
  assert.deepEqual(await right.register("setlist").get(), ["intro", "outro"]);
  assert.equal(await right.counter("takes").get(), 1);
  assert.deepEqual(await right.map("lights").entries(), [["left", { colour: "red" }]]);
  assert.deepEqual(await right.map("lights").get("right"), undefined);
  assert.deepEqual(
    [await right.set("guests").values(), await right.set("guests").has("ann"), await right.set("guests").has("bob")],
    [["ann"], true, false],
  );
  assert.deepEqual(await right.list("songs").values(), ["two", "three", "four"]);
  assert.equal(await right.text("notes").get(), "soft loud");
  assert.deepEqual(await right.text("notes").spans(), [
    { text: "soft", attributes: { bold: true } },
    { text: " loud", attributes: {} },
  ]);
  const [candidate] = await right.register("setlist").values();
  assert.equal(candidate.writer.toString(16), (await a.replica()).replace(/^0+/, ""));
  const { document, unsynced, engine } = await right.status();
  assert.deepEqual([document, unsynced, engine], [await right.id(), 0, "yrs"]);
});

test("a transaction is seen at once or not at all", async (t) => {
  const [a] = await swarm(t, "a");
  const stage = await a.document("stage");
  const changes = stage.observe();
  await stage.transact((tx) => {
    tx.map("lights").put("right", "blue");
    tx.register("r").set(1);
    tx.counter("takes").add(1);
    tx.set("guests").insert("ann");
    tx.list("songs").push("one");
    tx.text("notes").insert(0, "hello");
  });
  const seen = new Set();
  while (seen.size < 5) for (const { path } of (await changes.next()).value.patches) seen.add(path.section);
  assert.equal(await stage.text("notes").get(), "hello");
  const plan = (tx) => {
    tx.counter("takes").add(1);
    tx.text("notes").remove(100, 200);
  };
  await assert.rejects(stage.transact(plan), DocumentError);
  assert.equal(await stage.counter("takes").get(), 1);
});

test("changes, presence, messages and states are heard", async (t) => {
  const [a, b] = await swarm(t, "a", "b");
  const [left, right] = [await a.document("stage"), await b.document("stage")];
  const changes = left.observe("register/");
  await right.register("r").set({ x: 1 });
  const [patch] = (await changes.next()).value.patches;
  assert.deepEqual(
    [patch.path, patch.change, patch.origin],
    [{ section: "register", name: "r", within: null }, { put: { old: null, new: { x: 1 } } }, "remote"],
  );
  const events = a.events();
  await right.setPresence({ cursor: 3 });
  for await (const event of events) if (event.kind === "presence") break;
  const present = await left.presence();
  assert.deepEqual(
    present.map(({ agent, state }) => [agent, state]),
    [["b", { cursor: 3 }]],
  );
  const message = (async () => {
    for await (const event of a.events()) if (event.kind === "message") return event;
  })();
  await b.send({ document: "stage" }, Uint8Array.of(1, 2, 3));
  const { from, body } = await message;
  assert.deepEqual([from, [...body]], ["b", [1, 2, 3]]);
  await b.state.set("position", [3, 4]);
  const members = await a.swarm();
  await when(members, async () => (await members.agentState("b").get("position")) !== undefined);
  assert.deepEqual(await members.agentState("b").get("position"), [3, 4]);
  assert.deepEqual(await b.state.get("position"), [3, 4]);
  assert.deepEqual((await members.members()).map(({ member }) => member.agent).sort(), ["a", "b"]);
});

test("a barrier releases all with one outcome", async (t) => {
  const agents = await swarm(t, "a", "b", "c");
  const passages = await Promise.all(
    agents.map(async (agent) => {
      const stage = await agent.document("stage");
      return (await stage.barrier("flash", { members: { alpha: ["a"], gamma: ["b", "c"] } })).arrive();
    }),
  );
  assert.ok(passages.every((passage) => passage.isComplete));
  assert.deepEqual(
    passages[1].outcome.tiers.map(({ released }) => released),
    [["a"], ["b", "c"]],
  );
  const stage = await agents[0].document("stage");
  const [status] = await stage.explain();
  assert.deepEqual([status.kind, status.barrier.name], ["barrier", "flash"]);
  // The alpha was released before it heard of the others.
  await until(async () => (await stage.explain())[0].why.length === 0);
  assert.equal(await stage.cleanUp("nothing"), false);
});

test("a wait at a barrier can be given up, and taken up again", async (t) => {
  const [a, b] = await swarm(t, "a", "b");
  const settings = { members: ["a", "b"] };
  const [left, right] = await Promise.all(
    [a, b].map(async (agent) => (await agent.document("stage")).barrier("flash", settings)),
  );
  const generation = await left.arriveNow();
  const leave = new AbortController();
  const wait = assert.rejects(left.released(generation, { signal: leave.signal }), AbortedError);
  leave.abort();
  await wait;
  assert.match((await left.status()).why.join(), /b/);
  await right.arriveNow();
  assert.ok((await left.released(generation)).isReleased);
  await assert.rejects(left.arriveNow(), NodeError);
});

test("an epoch, a poll and a decision are the same for both", async (t) => {
  const agents = await swarm(t, "a", "b");
  const members = ["a", "b"];
  const stages = await Promise.all(agents.map((agent) => agent.document("stage")));
  const epochs = await Promise.all(stages.map((stage) => stage.epoch("show", { members, phases: ["collect", "act"] })));
  await assert.rejects(epochs[0].finish("act"), WrongPhaseError);
  assert.equal(await epochs[0].phase(), "collect");
  const over = await Promise.all(epochs.map((epoch) => epoch.finish("collect")));
  assert.ok(over.every((passage) => passage.isComplete));
  const polls = await Promise.all(stages.map((stage) => stage.poll("tempo", { members, options: ["slow", "fast"] })));
  await Promise.all(polls.map((poll) => poll.vote("fast")));
  assert.deepEqual(await Promise.all(polls.map((poll) => poll.decided())), ["fast", "fast"]);
  const decisions = await Promise.all(stages.map((stage) => stage.decision("leader", { members })));
  await Promise.all(decisions.map((decision, at) => decision.propose({ leader: at })));
  const decided = await Promise.all(decisions.map((decision) => decision.decided()));
  assert.deepEqual(decided[0], decided[1]);
  assert.ok([0, 1].includes(decided[0].leader));
});

test("an item is pushed, claimed, given back, claimed with a higher token and done", async (t) => {
  const [a, b] = await swarm(t, "a", "b");
  const [pushes, works] = await Promise.all(
    [a, b].map(async (agent) => (await agent.document("stage")).queue("jobs", { members: ["a", "b"] })),
  );
  const item = await pushes.push({ song: 1 }, { tier: "beta", deadline: new Date(Date.now() + 60_000) });
  const first = await works.claim();
  assert.deepEqual([first.item, first.payload, await first.isHeld()], [item, { song: 1 }, true]);
  assert.equal((await works.items())[0].item, item);
  await first[Symbol.asyncDispose]();
  const second = await works.claim();
  assert.ok(second.token > first.token);
  assert.equal((await works.queueStatus()).held, 1);
  await second.complete();
  assert.deepEqual(await works.items(), []);
  await assert.rejects(second.complete(), ClosedError);
  const leave = new AbortController();
  const none = assert.rejects(works.claim("exclusive", { signal: leave.signal }), AbortedError);
  leave.abort();
  await none;
});

test("what is done offline is there after the agent was opened again, and travels then", async (t) => {
  const name = `swarm-${swarms++}`;
  const options = { name: "a", swarm: name, connect: at.address, store: true };
  const first = await Agent.open(options);
  await first.setOnline(false);
  const stage = await first.document("stage");
  await stage.register("r").set("offline");
  await first.persisted();
  const replica = await first.replica();
  await first.close();
  const second = await Agent.open(options);
  const other = await Agent.open({ ...options, name: "b", store: false });
  t.after(() => Promise.all([second.close(), other.close()]));
  assert.equal(await second.replica(), replica);
  const [again, there] = [await second.document("stage"), await other.document("stage")];
  assert.equal(await again.register("r").get(), "offline");
  await when(there, async () => (await there.register("r").get()) === "offline");
});

test("a full disk fails whoever waits for it, and not for ever", async (t) => {
  const agent = await Agent.open({ name: "a", swarm: `swarm-${swarms++}`, store: true });
  t.after(() => agent.close());
  const stage = await agent.document("stage");
  const events = agent.events();
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("no room", "QuotaExceededError");
  };
  await stage.register("r").set(1);
  await assert.rejects(agent.persisted(), { code: "QuotaExceeded" });
  await assert.rejects(stage.flush(), { code: "QuotaExceeded" });
  for await (const event of events) if (event.kind === "storage") break;
  IDBObjectStore.prototype.put = put;
  await agent.persisted().catch(() => agent.persisted());
  assert.equal(await stage.register("r").get(), 1);
});

test("without a disk at all the agent does not open as if there were one", async () => {
  const open = indexedDB.open;
  indexedDB.open = () => {
    throw new DOMException("not here", "SecurityError");
  };
  await assert.rejects(Agent.open({ name: "a", store: true }), StorageUnavailableError);
  indexedDB.open = open;
});

test("a page without locks gets no store, for its tabs could not share it", async () => {
  globalThis.isSecureContext = false;
  await assert.rejects(Agent.open({ name: "a", store: true }), StorageUnavailableError);
  delete globalThis.isSecureContext;
});

test("errors have their class", async (t) => {
  await assert.rejects(Agent.open({ name: "" }), NameError);
  const [a] = await swarm(t, "a");
  await assert.rejects(a.document("stage/"), NameError);
  const stage = await a.document("stage");
  await assert.rejects(stage.queue("jobs", { members: Array.from({ length: 11 }, (_, n) => `w${n}`) }), {
    code: "TooManyAgents",
  });
  await assert.rejects(stage.list("songs").insert(5, "far"), DocumentError);
  await assert.rejects(stage.counter("takes").add(0.5), { code: "Encode" });
});

test("a trap of the module is survived: what was persisted is there, handles and observers go on", async (t) => {
  const agent = await Agent.open({ name: "a", swarm: `swarm-${swarms++}`, connect: at.address, store: true });
  t.after(() => agent.close());
  const stage = await agent.document("stage");
  const events = agent.events();
  await stage.register("r").set("kept");
  await agent.persisted();
  const changes = stage.observe("register/");
  const { RawDocument } = await import("../pkg/yrs/aepoch_wasm.js");
  const get = t.mock.method(RawDocument.prototype, "registerGet", () => {
    throw new WebAssembly.RuntimeError("unreachable");
  });
  await assert.rejects(stage.register("r").get(), { code: "Panic" });
  get.mock.restore();
  assert.equal(await stage.register("r").get(), "kept");
  assert.equal((await changes.next()).value.missed, true);
  await stage.register("r").set("anew");
  assert.equal((await changes.next()).value.patches[0].change.put.new, "anew");
  assert.equal((await events.next()).value !== undefined, true);
  await stage.flush();
});

// Agents that survive their module: handles open anew, what cannot be done twice is not, listeners go on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AgentBase, begin } from "../dist/agent.js";
import { AbortedError, ClosedError, EncodeError, PanicError } from "../dist/errors.js";
import { Disk, MemoryPlace, settle, until } from "./memory.mjs";

class Agent extends AgentBase {
  static async open(place, options) {
    return new Agent(await begin({ here: place }, { name: "a", swarm: "band", ...options }));
  }
}

async function opened() {
  const place = new MemoryPlace(new Disk());
  const agent = await Agent.open(place);
  return { place, agent, stage: await agent.document("stage") };
}

test("after a panic the handles work on what the store has", async () => {
  const { place, agent, stage } = await opened();
  const register = stage.register("setlist");
  await register.set(["intro"]);
  await agent.persisted();
  place.trapped("index out of bounds");
  assert.deepEqual(await register.get(), ["intro"]);
  await register.set(["outro"]);
  assert.equal(place.agents.length, 2);
  assert.deepEqual(await register.get(), ["outro"]);
});

test("what waits when the module fails is told, and is not done again", async () => {
  const { place, stage } = await opened();
  const flush = stage.flush();
  const told = assert.rejects(flush, (error) => error instanceof PanicError && /out of bounds/.test(error.message));
  await settle();
  place.trapped("index out of bounds");
  await told;
  await settle();
  assert.deepEqual(place.agent.log, []);
});

test("a call that traps fails as a panic and brings the module back", async () => {
  const { place, stage } = await opened();
  place.agent.isDead = true;
  await assert.rejects(stage.register("r").get(), PanicError);
  assert.equal(await stage.register("r").get(), undefined);
  assert.equal(place.agents.length, 2);
});

test("whoever listens is told why nothing more comes", async () => {
  const { place, agent } = await opened();
  const waiting = agent.events();
  const told = assert.rejects(async () => {
    for await (const _ of waiting);
  }, PanicError);
  await settle();
  place.panics = 100;
  place.trapped("first");
  await told;
  assert.deepEqual(await waiting.next(), { value: undefined, done: true });
});

test("a module that fails each time is given up", async () => {
  const { place, agent, stage } = await opened();
  place.panics = 100;
  place.trapped("first");
  await until(() => place.isClosed);
  await assert.rejects(stage.register("r").get(), PanicError);
  await assert.rejects(agent.document("other"), PanicError);
  assert.ok(place.agents.length < 10, String(place.agents.length));
});

test("an agent whose store has gone meanwhile says why it does not come back", async () => {
  const { place, stage } = await opened();
  place.fault = Object.assign(new Error("no room"), { code: "QuotaExceeded" });
  place.trapped("first");
  await assert.rejects(stage.register("r").get(), { code: "QuotaExceeded" });
});

test("observers go on after a panic, with one notice that something may be missed", async () => {
  const { place, stage } = await opened();
  const changes = stage.observe("register/");
  await stage.register("r").set(1);
  assert.deepEqual((await changes.next()).value, { patches: [{ path: "register/r" }], missed: false });
  place.trapped("index out of bounds");
  assert.deepEqual((await changes.next()).value, { patches: [], missed: true });
  await stage.register("r").set(2);
  assert.deepEqual((await changes.next()).value, { patches: [{ path: "register/r" }], missed: false });
  assert.equal(place.agent.observers.size, 1);
  changes.stop();
  await until(() => place.agent.observers.size === 0);
  assert.equal((await changes.next()).done, true);
});

test("a listener that is slow misses some, and is told", async () => {
  const { place, agent } = await opened();
  const events = agent.events();
  await settle();
  for (let event = 0; event < 5_000; event++) place.agent.say({ kind: "acked", document: String(event) });
  assert.equal((await events.next()).value.kind, "missed");
  assert.deepEqual((await events.next()).value, { kind: "acked", document: "4096" });
});

test("events are heard by a loop that ends with its signal, and carry a message's bytes", async () => {
  const { place, agent } = await opened();
  const leave = new AbortController();
  const heard = [];
  const loop = (async () => {
    for await (const event of agent.events({ signal: leave.signal })) heard.push(event);
  })();
  await settle();
  place.agent.say({ kind: "message", from: "b", to: "all" }, Uint8Array.of(7));
  await settle();
  leave.abort();
  await loop;
  assert.deepEqual(heard, [{ kind: "message", from: "b", to: "all", body: Uint8Array.of(7) }]);
  assert.equal(place.agent.listeners.size, 0);
});

test("presence and being offline are restored", async () => {
  const { place, agent, stage } = await opened();
  await stage.setPresence({ at: 3 });
  await agent.setOnline(false);
  place.trapped("index out of bounds");
  await until(() => place.agents.length === 2 && place.agent.log.includes('presence {"at":3}'));
  assert.equal((await agent.status()).online, false);
});

test("a wait ends with its signal at once, and says why", async () => {
  const { place, stage } = await opened();
  const leave = new AbortController();
  const wait = assert.rejects(stage.flush({ signal: leave.signal }), (error) => {
    return error instanceof AbortedError && error.name === "AbortError" && error.cause === "enough";
  });
  await settle();
  leave.abort("enough");
  await wait;
  await settle();
  assert.equal(place.agent.log.at(-1), "given up");
  await assert.rejects(stage.flush({ signal: leave.signal }), AbortedError);
  assert.equal(place.agent.log.filter((line) => line === "flush").length, 1);
});

test("a transaction is one call, and none when its plan throws", async () => {
  const { place, stage } = await opened();
  await stage.transact((tx) => {
    tx.map("lights").put("right", "blue");
    tx.counter("takes").add(1);
    tx.list("songs").insert(0, "a", "b");
    tx.text("notes").insert(0, "hello");
  });
  const sent =
    '[["mapPut","lights","right","blue"],["counterAdd","takes",1],["listInsert","songs",0,["a","b"]],["textInsert","notes",0,"hello"]]';
  assert.equal(place.agent.log.at(-1), `transact ${sent}`);
  const plan = (tx) => {
    tx.counter("takes").add(1);
    throw new Error("no");
  };
  await assert.rejects(stage.transact(plan), /no/);
  assert.equal(place.agent.log.filter((line) => line.startsWith("transact")).length, 1);
});

test("calls are made in the order they were written, also while the document is busy", async () => {
  const { place, stage } = await opened();
  place.agent.busy = 2;
  const register = stage.register("r");
  const sets = [1, 2, 3].map((value) => register.set(value));
  await settle();
  sets.push(register.set(4));
  await Promise.all(sets);
  assert.deepEqual(place.agent.log, ["open stage", "set 1", "set 2", "set 3", "set 4"]);
});

test("a task goes back when it is let go of, and is not completed after a panic", async () => {
  const { place, stage } = await opened();
  const jobs = await stage.queue("jobs");
  const task = await jobs.claim();
  assert.deepEqual([task.item, task.token, task.payload, await task.isHeld()], ["1.1", 7, "tune", true]);
  await task[Symbol.asyncDispose]();
  await until(() => place.agent.log.includes("give back"));
  assert.equal(await task.isHeld(), false);
  const other = await jobs.claim();
  place.trapped("index out of bounds");
  assert.equal(await other.isHeld(), false);
  await assert.rejects(other.complete(), PanicError);
  await (await jobs.claim()).complete();
  assert.ok(place.agent.log.includes("complete"));
});

test("an item claimed after its wait was given up goes back", async () => {
  const { place, stage } = await opened();
  const jobs = await stage.queue("jobs");
  const leave = new AbortController();
  const claim = assert.rejects(jobs.claim("exclusive", { signal: leave.signal }), AbortedError);
  leave.abort();
  await claim;
  await until(() => place.agent.log.includes("give back"));
});

test("closing ends what waits, and nothing works afterwards", async () => {
  const { place, agent, stage } = await opened();
  const events = agent.events();
  const wait = assert.rejects(stage.flush(), ClosedError);
  await settle();
  await agent.close();
  await wait;
  assert.equal((await events.next()).done, true);
  assert.ok(place.agent.isClosed);
  await assert.rejects(stage.register("r").get(), ClosedError);
  await agent.close();
});

test("a document is closed with its handle, after the calls under way", async () => {
  const { place, stage } = await opened();
  const leave = new AbortController();
  const wait = stage.flush({ signal: leave.signal }).catch(() => {});
  await settle();
  stage.close();
  assert.ok(!place.agent.log.includes("free stage"));
  leave.abort();
  await wait;
  await until(() => place.agent.log.includes("free stage"));
  await assert.rejects(stage.register("r").get(), ClosedError);
});

test("values that JSON cannot say are refused", async () => {
  const { stage } = await opened();
  await assert.rejects(stage.register("r").set(undefined), EncodeError);
  await assert.rejects(stage.register("r").set(1n), EncodeError);
});

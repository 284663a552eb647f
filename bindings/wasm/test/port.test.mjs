// Calls over a channel: objects, callbacks, waits and errors of the other end are like those of this one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClosedError, InterruptedError, NameError } from "../dist/errors.js";
import { Port, Service } from "../dist/port.js";
import { Disk, MemoryPlace, settle, until } from "./memory.mjs";

/** Both ends of a channel over which only what can be cloned passes. */
function channel(root, serving) {
  const words = [];
  const over = (to) => (message) => {
    words.push(message.kind);
    const passed = structuredClone(message);
    queueMicrotask(() => to().hear(passed));
  };
  const service = new Service(
    root,
    over(() => port),
    serving,
  );
  const port = new Port(over(() => service));
  return { port, service, words };
}

async function opened(serving) {
  const agent = await new MemoryPlace(new Disk()).open({ name: "a" });
  const ends = channel(agent, serving);
  return { agent, ...ends, remote: ends.port.root() };
}

test("objects are opened, called and freed at the other end", async () => {
  const { agent, remote } = await opened();
  assert.equal(await remote.name(), "a");
  const stage = await remote.document("stage");
  await stage.registerSet("setlist", '["intro"]');
  assert.equal(await stage.registerGet("setlist"), '["intro"]');
  assert.equal(await stage.registerGet("other"), undefined);
  await stage.free();
  assert.deepEqual(agent.log.at(-1), "free stage");
  await assert.rejects(stage.registerGet("setlist"), ClosedError);
});

test("an error of the other end has its class here", async () => {
  const { remote } = await opened();
  await assert.rejects(
    remote.document("bad name"),
    (error) => error instanceof NameError && error.message === "a bad name",
  );
  await assert.rejects(remote.nothing(), (error) => error.code === "Internal");
});

test("a callback hears until it is stopped", async () => {
  const { agent, remote } = await opened();
  const heard = [];
  const hearing = await remote.events((event, body) => heard.push([event, body]));
  agent.say({ kind: "message" }, Uint8Array.of(1, 2));
  await settle();
  assert.deepEqual(heard, [['{"kind":"message"}', Uint8Array.of(1, 2)]]);
  await hearing.stop();
  assert.equal(agent.listeners.size, 0);
});

test("a wait can be given up from here", async () => {
  const { agent, remote } = await opened();
  const stage = await remote.document("stage");
  let abort;
  const wait = assert.rejects(stage.flush(new Promise((raised) => (abort = raised))), { code: "Aborted" });
  await settle();
  assert.equal(agent.log.at(-1), "flush");
  abort();
  await wait;
  assert.equal(agent.log.at(-1), "given up");
});

test("when the other end is gone, calls that were taken are told from those that were not", async () => {
  const { remote, port, service } = await opened({
    settle: (method) => (method === "counterAdd" ? new Promise(() => {}) : undefined),
  });
  const stage = await remote.document("stage");
  const taken = assert.rejects(stage.counterAdd("takes", 1), { code: "Interrupted", begun: true });
  await settle();
  service.end();
  const lost = assert.rejects(stage.counterAdd("takes", 1), { code: "Interrupted", begun: false });
  port.end((isTaken) => new InterruptedError("Interrupted", "gone", { begun: isTaken }));
  await Promise.all([taken, lost]);
  await assert.rejects(stage.counterGet("takes"), InterruptedError);
});

test("an end that is gone leaves nothing open here", async () => {
  const { agent, remote, service } = await opened();
  const stage = await remote.document("stage");
  await remote.events(() => {});
  const queue = await stage.queue("jobs", "{}");
  await queue.claim("exclusive");
  stage.flush();
  await settle();
  service.end();
  await settle();
  assert.equal(agent.listeners.size, 0);
  assert.ok(agent.log.includes("give back"), agent.log.join());
  assert.ok(agent.log.includes("free stage"), agent.log.join());
  assert.ok(agent.log.includes("given up"), agent.log.join());
});

test("calls to a busy document wait their turn", async () => {
  const { agent, remote } = await opened();
  const stage = await remote.document("stage");
  agent.busy = 3;
  await Promise.all([1, 2, 3].map((value) => stage.registerSet("r", String(value))));
  assert.equal(await stage.registerGet("r"), "3");
});

test("an answer waits for what it is to be kept by", async () => {
  let keep;
  const kept = new Promise((done) => (keep = done));
  const { agent, remote } = await opened({ settle: (method) => (method === "registerSet" ? kept : undefined) });
  const stage = await remote.document("stage");
  let answered = false;
  const set = stage.registerSet("r", "1").then(() => (answered = true));
  await until(() => agent.log.includes("set 1"));
  await settle();
  assert.equal(answered, false);
  keep();
  await set;
});

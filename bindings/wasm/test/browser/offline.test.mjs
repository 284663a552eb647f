// Work without a network, and pages that come and go: what the browser has kept is there, and travels later.

import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "./stage.mjs";

const here = stage();

test("what is edited offline survives a reload and travels once the agent is online", async () => {
  const swarm = here.swarm();
  const options = { name: "a", swarm, store: true };
  const page = await here.agent(options);
  const replica = await page.evaluate(async () => {
    await doc.register("before").set("online");
    await doc.flush();
    await agent.setOnline(false);
    await doc.register("meanwhile").set("offline");
    await doc.counter("takes").add(3);
    await agent.persisted();
    return agent.replica();
  });
  await here.program(swarm, "state", "set", "counter/takes", "4");
  await page.reload();
  await page.waitForFunction(() => "yrs" in window);
  await here.open(page, { ...options, connect: [] });
  const kept = () => Promise.all([doc.register("before").get(), doc.register("meanwhile").get(), doc.counter("takes").get(), agent.replica()]);
  assert.deepEqual(await page.evaluate(kept), ["online", "offline", 3, replica]);
  await page.reload();
  await page.waitForFunction(() => "yrs" in window);
  await here.open(page, options);
  await page.evaluate(async () => {
    await when(async () => (await doc.counter("takes").get()) === 7);
    await agent.flush();
  });
  const read = await Promise.all(
    ["register/meanwhile", "counter/takes"].map(async (path) => (await here.program(swarm, "state", "get", path))[0]),
  );
  assert.deepEqual(read, ["offline", 7]);
});

test("edits made while the agent is off the network meet those of others", async () => {
  const swarm = here.swarm();
  const [a, b] = await Promise.all(["a", "b"].map((name) => here.agent({ name, swarm })));
  await a.evaluate(() => agent.setOnline(false));
  await Promise.all([a, b].map((page, at) => page.evaluate(async (at) => {
    for (let i = 0; i < 20; i++) await doc.list("songs").push(`${at}-${i}`);
  }, at)));
  assert.equal((await a.evaluate(() => doc.list("songs").values())).length, 20);
  assert.equal(await a.evaluate(async () => (await agent.status()).unsynced > 0), true);
  await a.evaluate(() => agent.setOnline(true));
  const [ofA, ofB] = await Promise.all([a, b].map((page) => page.evaluate(async () => {
    await when(async () => (await doc.list("songs").values()).length === 40);
    return doc.list("songs").values();
  })));
  assert.deepEqual(ofA, ofB);
});

test("a crash of the page loses nothing the browser has kept", async () => {
  const swarm = here.swarm();
  const person = await here.person();
  const options = { name: "a", swarm, store: true };
  const page = await here.agent(options, person);
  const replica = await page.evaluate(async () => {
    await agent.setOnline(false);
    for (let i = 0; i < 50; i++) await doc.map("files").put(`f${i}`, i);
    await agent.persisted();
    return agent.replica();
  });
  await here.crash(page);
  const next = await here.agent(options, person);
  const [entries, again] = await next.evaluate(async () => {
    await doc.flush();
    return [await doc.map("files").entries(), await agent.replica()];
  });
  assert.equal(entries.length, 50);
  assert.equal(again, replica);
  const [files] = await here.program(swarm, "state", "get", "map/files");
  assert.equal(Object.keys(files).length, 50);
});

// Tabs of one origin share an agent: when the one that leads goes, another takes over, and nothing is lost.

import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "./stage.mjs";

const here = stage();

/** Three tabs of one person with the same agent; the first one leads. */
async function tabs(swarm) {
  const person = await here.person();
  const pages = [];
  for (let i = 0; i < 3; i++) pages.push(await here.agent({ name: "a", swarm, store: true }, person));
  return pages;
}

const write = (page, from) =>
  page.evaluate(async (from) => {
    for (let i = from; i < from + 20; i++) await doc.map("files").put(`f${i}`, i);
  }, from);

test("tabs are one agent over one connection", async () => {
  const swarm = here.swarm();
  const pages = await tabs(swarm);
  const replicas = await Promise.all(pages.map((page) => page.evaluate(() => agent.replica())));
  assert.equal(new Set(replicas).size, 1);
  await write(pages[1], 0);
  const entries = await pages[2].evaluate(async () => {
    await when(async () => (await doc.map("files").entries()).length === 20);
    return doc.map("files").entries();
  });
  assert.equal(entries.length, 20);
  const members = await pages[0].evaluate(async () => (await (await agent.swarm()).members()).map(({ member }) => member.agent));
  assert.deepEqual(members, ["a"]);
  const { peers } = await pages[1].evaluate(() => agent.status());
  assert.deepEqual(peers, ["relay"]);
});

for (const [end, how] of [["closed", (page) => page.close()], ["crashed", (page) => here.crash(page)]]) {
  test(`another tab takes over from a leader that was ${end}, and nothing is lost`, async () => {
    const swarm = here.swarm();
    const [leader, ...others] = await tabs(swarm);
    await leader.evaluate(() => agent.setOnline(false));
    await write(leader, 0);
    await leader.evaluate(() => agent.persisted());
    // A follower's write is answered once it is in the store.
    await write(others[0], 100);
    const replica = await leader.evaluate(() => agent.replica());
    await how(leader);
    await write(others[1], 200);
    for (const page of others) {
      const count = await page.evaluate(async () => {
        await when(async () => (await doc.map("files").entries()).length === 60);
        await agent.flush();
        return agent.replica();
      });
      assert.equal(count, replica);
    }
    const [files] = await here.program(swarm, "state", "get", "map/files");
    assert.equal(Object.keys(files).length, 60);
  });
}

test("a leader that goes while tabs write is followed by one that has every write it answered", async () => {
  const swarm = here.swarm();
  const [leader, ...others] = await tabs(swarm);
  const writing = others.map((page, at) =>
    page.evaluate(async (at) => {
      const answered = [];
      for (let i = 0; i < 60; i++) {
        const key = `f${at}-${i}`;
        await doc.map("files").put(key, i);
        answered.push(key);
      }
      return answered;
    }, at),
  );
  await leader.evaluate(() => when(async () => (await doc.map("files").entries()).length > 20));
  await here.crash(leader);
  const answered = (await Promise.all(writing)).flat();
  assert.equal(answered.length, 120);
  await others[0].evaluate(() => agent.flush());
  const [files] = await here.program(swarm, "state", "get", "map/files");
  assert.deepEqual(Object.keys(files).sort(), answered.sort());
});

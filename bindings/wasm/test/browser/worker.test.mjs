// An agent in a Worker: the same API, and a page that goes on while a large document loads.

import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "./stage.mjs";

const here = stage();

test("an agent in a Worker does what one in the page does", async () => {
  const swarm = here.swarm();
  const page = await here.agent({ name: "a", swarm, worker: true, store: true });
  const seen = await page.evaluate(async () => {
    const changes = doc.observe("register/");
    await doc.register("setlist").set(["intro"]);
    const { patches } = (await changes.next()).value;
    const queue = await doc.queue("jobs", { members: ["a"] });
    await queue.push({ song: 1 });
    const task = await queue.claim();
    await task.complete();
    const leave = new AbortController();
    const none = queue.claim("exclusive", { signal: leave.signal }).catch((thrown) => thrown.code);
    leave.abort();
    await agent.flush();
    await agent.persisted();
    const wrong = await doc.list("songs").insert(9, "far").catch((thrown) => [thrown instanceof yrs.DocumentError, thrown.code]);
    return { written: patches[0].change.put.new, payload: task.payload, none: await none, wrong };
  });
  assert.deepEqual(seen.written, ["intro"]);
  assert.deepEqual(seen.payload, { song: 1 });
  assert.equal(seen.none, "Aborted");
  assert.deepEqual(seen.wrong, [true, "Document"]);
  const [read] = await here.program(swarm, "state", "get", "register/setlist");
  assert.deepEqual(read, ["intro"]);
});

test("a page goes on while a Worker loads a large document", async () => {
  const swarm = here.swarm();
  const files = 40_000;
  const first = await here.agent({ name: "a", swarm });
  await first.evaluate(async (files) => {
    for (let from = 0; from < files; from += 1_000) {
      await doc.transact((tx) => {
        for (let i = from; i < from + 1_000; i++) tx.map("files").put(`file-${i}`, { size: i, name: `name of file ${i}` });
      });
    }
    await agent.flush();
  }, files);
  await first.close();
  /** Opens the document and waits until all of it is there: whether the module ran in the page's own thread. */
  const load = async (options) => {
    const page = await here.page();
    const [inPage, size] = await page.evaluate(async ([options, files]) => {
      const agent = await yrs.Agent.open(options);
      const doc = await agent.document("stage");
      const pause = () => new Promise((over) => setTimeout(over, 20));
      while ((await doc.map("files").get(`file-${files - 1}`)) === undefined) await pause();
      const entries = await doc.map("files").entries();
      // What a Worker loads is not among the page's resources.
      const inPage = performance.getEntriesByType("resource").some(({ name }) => name.endsWith(".wasm"));
      await agent.close();
      return [inPage, entries.length];
    }, [{ swarm, connect: here.relay.address, ...options }, files]);
    await page.close();
    assert.equal(size, files);
    return inPage;
  };
  assert.equal(await load({ name: "b" }), true);
  assert.equal(await load({ name: "c", worker: true }), false, "the page ran the module itself");
});

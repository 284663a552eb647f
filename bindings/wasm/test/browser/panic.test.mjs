// A panic inside the module: told as an error, survived by a module made anew from the store.
// The package under test has a function that panics (`build.sh trap`); everything else is the same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { stage } from "./stage.mjs";

const panicking = fileURLToPath(new URL("../../../../target/npm/trap/", import.meta.url));
/** What the module writes about it. */
const EXPECTED = [/asked to/, /unreachable/];
const here = stage({ instead: { "/aepoch/pkg/yrs/": process.env.AEPOCH_TRAP ?? panicking } });

test("a panic fails the calls under way, and loses nothing the browser has kept", async () => {
  const swarm = here.swarm();
  const page = await here.agent({ name: "a", swarm, store: true });
  here.expectErrors(...EXPECTED);
  const seen = await page.evaluate(async () => {
    await agent.setOnline(false);
    await doc.register("r").set("kept");
    await agent.persisted();
    const changes = doc.observe("register/");
    const waits = doc.queue("jobs", { members: ["a"] }).then((queue) => queue.claim()).catch((thrown) => thrown.code);
    await doc.register("r").set("kept too");
    await agent.persisted();
    await changes.next();
    const { trap } = await import("/aepoch/pkg/yrs/aepoch_wasm.js");
    let trapped;
    try {
      trap();
    } catch (thrown) {
      trapped = thrown instanceof WebAssembly.RuntimeError;
    }
    const failed = await waits;
    const kept = await doc.register("r").get();
    const { missed } = (await changes.next()).value;
    await doc.register("r").set("anew");
    await agent.setOnline(true);
    await doc.flush();
    return { trapped, failed, kept, missed };
  });
  assert.deepEqual(seen, { trapped: true, failed: "Panic", kept: "kept too", missed: true });
  const [read] = await here.program(swarm, "state", "get", "register/r");
  assert.equal(read, "anew");
});

test("tabs go on after a panic in the one that leads", async () => {
  const swarm = here.swarm();
  const person = await here.person();
  const options = { name: "a", swarm, store: true };
  const [leader, other] = [await here.agent(options, person), await here.agent(options, person)];
  here.expectErrors(...EXPECTED);
  await other.evaluate(() => doc.register("r").set("answered"));
  await leader.evaluate(async () => {
    const { trap } = await import("/aepoch/pkg/yrs/aepoch_wasm.js");
    try {
      trap();
    } catch {}
  });
  const kept = await other.evaluate(async () => {
    const kept = await doc.register("r").get();
    await doc.register("after").set(true);
    await doc.flush();
    return kept;
  });
  assert.equal(kept, "answered");
  assert.equal(await leader.evaluate(() => doc.register("after").get()), true);
});

// Pages that show a credential: one that ends is asked to be renewed, one that has ended stays out until it is.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";

import { binary } from "../relay.mjs";
import { stage } from "./stage.mjs";

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), "aepoch-"));

const policy = join(folder, "swarm.json");
const keys = join(folder, "keys");
await run(binary, ["policy", "init", policy, "--new-keys", keys]);
const here = stage({ serve: ["--policy", policy] });
// After the relay, which follows its policy, has been stopped.
after(() => rm(folder, { recursive: true }));

/** A credential of an agent that lives for so many seconds. */
async function credential(agent, life) {
  const mint = ["token", "mint", "--policy", policy, "--key", join(keys, "issuer.key"), "--agents", agent, "--into", folder];
  await run(binary, [...mint, "--tier", "gamma", "--room", "**=all", "--life", String(life)]);
  const [token, key] = await Promise.all(["token", "key"].map((kind) => readFile(join(folder, `${agent}.${kind}`), "utf8")));
  return { token: token.trim(), key };
}

/** A page with an agent whose credential lives for so many seconds. */
async function agent(name, swarm, life) {
  const page = await here.page();
  await page.evaluate(async (settings) => {
    window.agent = await yrs.Agent.open(settings);
    window.asked = new Promise((is) => agent.events((event) => event.kind === "renewalAsked" && is(true)));
    window.down = new Promise((is) => agent.events((event) => event.kind === "linkDown" && is(event.reason)));
    window.isDown = false;
    down.then(() => (isDown = true));
    window.doc = await agent.document("stage");
    await doc.register(agent.name).set("before");
    await doc.flush();
  }, { name, swarm, connect: here.relay.address, credential: await credential(name, life) });
  return page;
}

test("who renews in time stays, who does not is cut off, works on, and comes back with a new credential", async () => {
  const swarm = here.swarm();
  here.expectErrors(/WebSocket connection to/);
  // Relays ask a minute before the end, and allow for clocks that differ by half a minute after it.
  const [ann, bob] = await Promise.all(["ann", "bob"].map((name) => agent(name, swarm, 3)));
  const renew = async (page, name) => {
    const { token } = await credential(name, 900);
    await page.evaluate((token) => agent.renew(token), token);
  };
  assert.equal(await ann.evaluate(() => asked), true);
  await renew(ann, "ann");
  assert.match(await bob.evaluate(() => down), /expired/);
  const unsynced = await bob.evaluate(async () => {
    await doc.register("bob").set("meanwhile");
    return (await agent.status()).unsynced;
  });
  assert.equal(unsynced, 1);
  await ann.evaluate(async () => {
    await doc.register("ann").set("after");
    await doc.flush();
  });
  assert.equal(await ann.evaluate(() => isDown), false);
  await renew(bob, "bob");
  const seen = await bob.evaluate(async () => {
    await doc.flush();
    const changes = doc.observe("register/ann");
    while ((await doc.register("ann").get()) !== "after") await changes.next();
    return doc.register("ann").get();
  });
  assert.equal(seen, "after");
});

test("a page without a credential is refused, and told why", async () => {
  const page = await here.page();
  here.expectErrors(/WebSocket connection to/);
  const reason = await page.evaluate(async (settings) => {
    const agent = await yrs.Agent.open(settings);
    for (;;) {
      const { relays } = await agent.status();
      if (relays[0].reason) return relays[0].reason;
      await new Promise((over) => setTimeout(over, 20));
    }
  }, { name: "eve", swarm: here.swarm(), connect: here.relay.address });
  assert.match(reason, /credential/i);
});

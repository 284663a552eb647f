// A panic in the module, with the build that can be asked for one (`build.sh trap`): nothing acknowledged is lost, and
// what the page still calls of the module before does nothing.

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";

import { AgentBase, begin } from "../dist/agent.js";
import { fromDisk } from "../dist/disk.js";
import { Engine } from "../dist/engine.js";
import { relay } from "./relay.mjs";
import { until } from "./memory.mjs";

const folder = new URL(process.env.AEPOCH_TRAP ?? "../../../target/npm/trap/", import.meta.url);
const glue = await import(new URL("aepoch_wasm.js", folder).href);
const here = new Engine(() => fromDisk(glue, new URL("aepoch_wasm_bg.wasm", folder)));

class Agent extends AgentBase {
  static async open(options) {
    return new Agent(await begin({ here }, options));
  }
}

test("all agents of a module that panics come back with what was persisted, and go on", async (t) => {
  const at = await relay();
  t.after(() => at.stop());
  const agents = await Promise.all(
    ["a", "b"].map((name) => Agent.open({ name, swarm: "band", connect: at.address, store: true })),
  );
  const [left, right] = await Promise.all(agents.map((agent) => agent.document("stage")));
  await left.register("r").set("kept");
  await left.counter("takes").add(2);
  await agents[0].persisted();
  const changes = left.observe("counter/");
  const waits = assert.rejects(left.barrier("flash", { members: ["a", "nobody"] }), {
    code: "Panic",
    message: /asked to/,
  });
  await until(async () => (await right.register("r").get()) === "kept");
  assert.throws(glue.trap, WebAssembly.RuntimeError);
  await waits;
  assert.deepEqual([await left.register("r").get(), await left.counter("takes").get()], ["kept", 2]);
  assert.equal((await changes.next()).value.missed, true);
  await right.counter("takes").add(1);
  assert.equal((await changes.next()).value.patches[0].change.put.new, 3);
  // By now the relay has closed the sockets of the module before, and its timers have come.
  await agents[0].flush();
  await Promise.all(agents.map((agent) => agent.close()));
});

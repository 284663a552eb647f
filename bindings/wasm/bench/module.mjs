// What the module itself takes, in Node without a network: registers set, and events that cross into JavaScript.
//
// Run: `bindings/wasm/build.sh yrs`, then `node bindings/wasm/bench/module.mjs`. Prints one JSON object.

import { readFile } from "node:fs/promises";

import * as module from "../pkg/yrs/aepoch_wasm.js";

const SETS = 500_000;
const EVENTS = 20_000;

await module.default({ module_or_path: await readFile(new URL("../pkg/yrs/aepoch_wasm_bg.wasm", import.meta.url)) });
const agent = await module.open(JSON.stringify({ name: "bench", swarm: "bench", connect: [] }));
const doc = await agent.document("stage");

function sets(count) {
  const begun = performance.now();
  for (let at = 0; at < count; at += 1) doc.registerSet("position", "1");
  return performance.now() - begun;
}
sets(SETS / 10);
const setsPerSecond = Math.round((SETS / sets(SETS)) * 1_000);

/** Writes one after the other, each heard before the next. */
async function heard(count, hear) {
  let told;
  const hearing = hear(() => told());
  const begun = performance.now();
  for (let at = 0; at < count; at += 1) {
    const next = new Promise((resolve) => (told = resolve));
    doc.registerSet("position", String(at));
    await next;
  }
  const ms = performance.now() - begun;
  hearing.stop();
  return ms;
}
const parsed = (tell) => doc.observe("register/position", (patches) => (JSON.parse(patches), tell()));
await heard(EVENTS / 10, parsed);
const withEvent = await heard(EVENTS, parsed);
const without = sets(EVENTS);
const microseconds = Number((((withEvent - without) / EVENTS) * 1_000).toFixed(2));

console.log(JSON.stringify({ setsPerSecond, eventMicroseconds: microseconds }, null, 2));
await agent.close();

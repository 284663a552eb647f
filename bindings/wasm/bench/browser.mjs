// What a page waits for, in Chromium without a window: the first read of what others wrote, registers set, events heard.
//
// Run: `bindings/wasm/build.sh yrs package installed` and a release build of the program, then
// `node bindings/wasm/bench/browser.mjs`. Prints one JSON object.

import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { relay } from "../test/relay.mjs";
import { site } from "../test/browser/site.mjs";

const PAGES = 31;
const SETS = 20_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"];
const installed = process.env.AEPOCH_PACKAGE ?? fileURLToPath(new URL("../../../target/npm/installed/node_modules/aepoch", import.meta.url));

const pages = await site(installed);
const at = await relay("--allow-origin", pages.origin);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

/** A page of somebody who was never here: nothing is in a cache. */
async function page() {
  const context = await browser.newContext();
  const made = await context.newPage();
  await made.goto(pages.origin);
  return { made, context };
}

const percentile = (sorted, part) => Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(3));
const spread = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1) };
};

const open = { swarm: "bench", connect: at.address };

/** Milliseconds from the start of the navigation to the value in hand. */
async function firstRead(name) {
  const { made, context } = await page();
  const ms = await made.evaluate(async ({ name, ...open }) => {
    while (!("yrs" in window)) await new Promise((soon) => setTimeout(soon, 1));
    const agent = await window.yrs.Agent.open({ ...open, name });
    const doc = await agent.document("stage");
    const changes = doc.observe("register/setlist");
    while ((await doc.register("setlist").get()) === undefined) await changes.next();
    const ms = performance.now();
    await agent.close();
    return ms;
  }, { ...open, name });
  await context.close();
  return ms;
}

const { made, context } = await page();
const inPage = await made.evaluate(async ({ sets, ...open }) => {
  while (!("yrs" in window)) await new Promise((soon) => setTimeout(soon, 1));
  const agent = await window.yrs.Agent.open({ ...open, name: "writer" });
  const doc = await agent.document("stage");
  await doc.register("setlist").set(["intro", "outro"]);
  await agent.flush();

  const loop = async () => {
    const register = doc.register("position");
    const begun = performance.now();
    for (let at = 0; at < sets; at += 1) await register.set(at);
    return performance.now() - begun;
  };
  await loop();
  const alone = await loop();
  let heard = 0;
  const hearing = doc.observe("register/position", (changes) => (heard += changes === undefined ? 0 : 1));
  const watched = await loop();
  while (heard === 0) await new Promise((soon) => setTimeout(soon, 1));
  hearing.stop();
  await agent.flush();
  await agent.close();
  return { setsPerSecond: Math.round((sets / alone) * 1_000), setsPerSecondWatched: Math.round((sets / watched) * 1_000) };
}, { ...open, sets: SETS });
await context.close();

const reads = [];
for (let visitor = 0; visitor < PAGES; visitor += 1) reads.push(await firstRead(`visitor-${visitor}`));

console.log(JSON.stringify({ firstReadMs: spread(reads), ...inPage }, null, 2));
await browser.close();
at.stop();
pages.close();

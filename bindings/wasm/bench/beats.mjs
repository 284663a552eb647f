// From a page to a native agent, beside native to native: the same listener, the same relay, beats in turn.
//
// Run: `bindings/wasm/build.sh yrs package installed`, a release build of the program, `cargo bench --bench beats --no-run`,
// which tells its file; then `BEATS=<that file> node bindings/wasm/bench/beats.mjs`. Prints microseconds as JSON.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { relay } from "../test/relay.mjs";
import { site } from "../test/browser/site.mjs";

const COUNT = 400;
const GAP_MS = 25;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"];
const installed = process.env.AEPOCH_PACKAGE ?? fileURLToPath(new URL("../../../target/npm/installed/node_modules/aepoch", import.meta.url));

const pages = await site(installed);
const at = await relay("--allow-origin", pages.origin);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const page = await browser.newPage();
await page.goto(pages.origin);

const run = (...args) => spawn(process.env.BEATS, args, { stdio: ["ignore", "pipe", "inherit"] });
const lines = createInterface({ input: run("hear", at.address, String(COUNT), "native", "page").stdout })[Symbol.asyncIterator]();
await lines.next();

const native = run("beat", at.address, "native", String(COUNT), String(GAP_MS));
await page.evaluate(async ({ connect, count, gap }) => {
  const agent = await window.yrs.Agent.open({ name: "page", swarm: "beats", connect });
  const beat = (await agent.document("stage")).register("beat/page");
  for (let done = 0; done < count; done += 1) {
    await new Promise((soon) => setTimeout(soon, gap));
    await beat.set(Math.round((performance.timeOrigin + performance.now()) * 1_000));
  }
  await agent.flush();
  await agent.close();
}, { connect: at.address, count: COUNT, gap: GAP_MS });
await new Promise((ended) => (native.exitCode === null ? native.once("exit", ended) : ended()));

const spread = (times) => {
  const sorted = [...times].sort((a, b) => a - b);
  const percentile = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  return { p50: percentile(0.5), p99: percentile(0.99), max: sorted.at(-1) };
};
const heard = JSON.parse((await lines.next()).value);
console.log(JSON.stringify({ native: spread(heard.native), page: spread(heard.page) }, null, 2));
await browser.close();
at.stop();
pages.close();

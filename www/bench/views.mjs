// The dashboard with 1,000 agents in a swarm: how soon something is to be seen, cold, and how smoothly its list scrolls.
//
// Run: `make dashboard`, a release build of the program, then `node www/bench/views.mjs [AGENTS]`. Prints JSON.

import { relay } from "../../bindings/wasm/test/relay.mjs";
import { band } from "../test/band.mjs";
import { browser } from "../test/browser.mjs";

const AGENTS = Number(process.argv[2] ?? 1_000);
const VISITS = 11;
const SCROLLED_MS = 5_000;

const percentile = (values, part) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))];

const at = await relay();
const swarm = await band(at.address, Array.from({ length: AGENTS }, (_, index) => `crowd-${index}`));
const address = at.address.replace("ws:", "http:");

// Each in a browser of its own: nothing is in a cache.
const [painted, useful] = [[], []];
for (let visit = 0; visit < VISITS; visit += 1) {
  const { context, close } = await browser();
  const page = await context.newPage();
  await page.goto(address);
  // Rows of agents, and what they wait for.
  await page.getByText("alpha-2").first().waitFor();
  useful.push(await page.evaluate(() => performance.now()));
  painted.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  await close();
}

const { context, close } = await browser();
const page = await context.newPage();
await page.goto(`${address}/#/swarm`);
await page.getByText("alpha-2").first().waitFor();
const frames = await page.evaluate(async (ms) => {
  const box = document.querySelector(".rows");
  const times = [];
  let last = performance.now();
  const end = last + ms;
  await new Promise((done) => {
    const frame = (now) => {
      times.push(now - last);
      last = now;
      box.scrollTop += 40;
      if (box.scrollTop + box.clientHeight >= box.scrollHeight) box.scrollTop = 0;
      if (now < end) requestAnimationFrame(frame);
      else done();
    };
    requestAnimationFrame(frame);
  });
  return times.slice(1);
}, SCROLLED_MS);
await close();

const round = (value) => Math.round(value * 10) / 10;
const spread = (values) => ({ p50: round(percentile(values, 0.5)), p99: round(percentile(values, 0.99)), max: round(Math.max(...values)) });
console.log(JSON.stringify({
  agents: AGENTS,
  firstPaintMs: spread(painted),
  firstAgentsSeenMs: spread(useful),
  framesPerSecond: round((frames.length * 1_000) / frames.reduce((sum, ms) => sum + ms, 0)),
  frameMs: spread(frames),
}, null, 2));
await swarm.close();
at.stop();

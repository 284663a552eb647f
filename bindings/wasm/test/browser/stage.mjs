// What every browser test needs: a relay, a site, a browser without a window, and pages that open agents.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

import { binary, relay } from "../relay.mjs";
import { site } from "./site.mjs";

const run = promisify(execFile);
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];

/** The package under test: unpacked from the tarball. */
const installed = process.env.AEPOCH_PACKAGE ?? fileURLToPath(new URL("../../../../target/npm/installed/node_modules/aepoch", import.meta.url));

let swarms = 0;

/**
 * Sets a stage for the tests of a file. `serve`: further arguments of the relay; `instead`: see {@link site}.
 * What pages write to their console as errors fails the test, unless it was announced with `expectErrors`.
 */
export function stage({ serve = [], instead } = {}) {
  const here = {};
  const errors = [];
  const closing = [];
  let allowed = [];

  before(async () => {
    here.site = await site(installed, instead);
    here.relay = await relay("--allow-origin", here.site.origin, ...serve);
    here.browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
  });
  after(async () => {
    await here.browser?.close();
    here.relay?.stop();
    here.site?.close();
  });
  afterEach(async () => {
    for (const context of closing.splice(0)) await context.close();
    const unexpected = errors.splice(0).filter((error) => !allowed.some((pattern) => pattern.test(error)));
    allowed = [];
    assert.deepEqual(unexpected, [], "errors in the console");
  });

  /** The name of a swarm nobody else uses. */
  here.swarm = () => `swarm-${process.pid}-${swarms++}`;

  /** Someone with a browser: pages of one share their storage, those of others do not see it. */
  here.person = async () => {
    const context = await here.browser.newContext();
    closing.push(context);
    return context;
  };

  /** A page with the package loaded. */
  here.page = async (person) => {
    const page = await (person ?? (await here.person())).newPage();
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(here.site.origin);
    await page.waitForFunction(() => "yrs" in window);
    return page;
  };

  /** A page with an agent (`window.agent`) that works on a document (`window.doc`). */
  here.agent = async (options, person) => {
    const page = await here.page(person);
    await here.open(page, options);
    return page;
  };

  /** Opens an agent on a page. */
  here.open = async (page, options) => {
    const settings = { connect: here.relay.address, ...options };
    await page.evaluate(async (settings) => {
      window.agent = await window.yrs.Agent.open(settings);
      window.doc = await window.agent.document("stage");
      /** Waits until the document says so, looking whenever it changes. */
      window.when = async (holds) => {
        const changes = window.doc.observe();
        while (!(await holds())) await changes.next();
        changes.stop();
      };
    }, settings);
  };

  /** Kills the process behind a page. */
  here.crash = async (page) => {
    const crashed = page.waitForEvent("crash");
    const session = await page.context().newCDPSession(page);
    session.send("Page.crash").catch(() => {});
    await crashed;
  };

  here.expectErrors = (...patterns) => (allowed = patterns);

  /** Runs the program as another agent, and gives what it prints: JSON, one value per line. */
  here.program = async (swarm, ...args) => {
    const env = { ...process.env, AEPOCH_RELAY: here.relay.address, AEPOCH_SWARM: swarm, AEPOCH_DOCUMENT: "stage" };
    const { stdout } = await run(binary, [...args, "--json"], { env });
    return stdout.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  };

  return here;
}

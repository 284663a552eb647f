// Tabs that share an agent: one runs it, the others speak to it, and when it goes another takes over.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AgentBase } from "../dist/agent.js";
import { BusyError, ClosedError, InterruptedError, PanicError } from "../dist/errors.js";
import { Lives } from "../dist/recovery.js";
import { TabSource } from "../dist/tabs.js";
import { Disk, MemoryPlace, settle, until } from "./memory.mjs";

/** A browser's locks and channels, and tabs that can crash. */
class Browser {
  disk = new Disk();
  #queues = new Map();
  #channels = new Set();

  means(tab) {
    const request = (name, options, act) => {
      if (typeof options === "function") return request(name, {}, options);
      return new Promise((resolve, reject) => {
        const queue = this.#queues.get(name) ?? [];
        this.#queues.set(name, queue);
        const wish = { tab, act, resolve, reject };
        options.signal?.addEventListener("abort", () => {
          if (wish === queue[0]) return;
          this.#drop(queue, wish);
          reject(options.signal.reason);
        });
        queue.push(wish);
        if (queue.length === 1) this.#grant(queue);
      });
    };
    const channel = (name) => {
      const end = {
        tab,
        name,
        onmessage: null,
        postMessage: (word) => {
          if (tab.isGone) return;
          const copy = structuredClone(word);
          const others = [...this.#channels].filter((other) => other.name === name && other !== end);
          queueMicrotask(() => others.forEach((other) => !other.tab.isGone && other.onmessage?.({ data: copy })));
        },
        close: () => this.#channels.delete(end),
      };
      this.#channels.add(end);
      return end;
    };
    return { locks: { request }, channel };
  }

  #grant(queue) {
    const [wish] = queue;
    if (!wish) return;
    queueMicrotask(async () => {
      try {
        wish.resolve(await wish.act());
      } catch (thrown) {
        wish.reject(thrown);
      }
      this.#drop(queue, wish);
    });
  }

  #drop(queue, wish) {
    const at = queue.indexOf(wish);
    if (at >= 0) queue.splice(at, 1);
    if (at === 0) this.#grant(queue);
  }

  /** Ends a tab without a word, as a crash does. */
  crash(tab) {
    tab.isGone = true;
    for (const agent of tab.place.agents) agent.isDead = true;
    for (const queue of this.#queues.values()) {
      for (const wish of queue.filter((wish) => wish.tab === tab)) this.#drop(queue, wish);
    }
  }

  async open(options = {}) {
    const tab = { isGone: false, place: new MemoryPlace(this.disk), ...options.tab };
    const lives = new Lives();
    const given = { name: "a", swarm: "band", connect: [], store: "store", ...options };
    delete given.tab;
    tab.source = new TabSource("store", () => tab.place, given, lives, this.means(tab));
    await tab.source.begin();
    class Agent extends AgentBase {
      constructor() {
        super({ name: given.name, swarm: given.swarm, lives, source: tab.source });
      }
    }
    tab.agent = new Agent();
    tab.stage = await tab.agent.document("stage");
    return tab;
  }
}

async function two() {
  const browser = new Browser();
  return { browser, leader: await browser.open(), follower: await browser.open() };
}

test("tabs share one agent: what one writes the other reads", async () => {
  const { leader, follower } = await two();
  assert.equal(follower.place.agents.length, 0);
  await leader.stage.register("r").set(1);
  assert.equal(await follower.stage.register("r").get(), 1);
  await follower.stage.counter("takes").add(2);
  assert.equal(await leader.stage.counter("takes").get(), 2);
  const changes = follower.stage.observe("register/");
  await settle();
  await leader.stage.register("r").set(3);
  assert.deepEqual((await changes.next()).value, { patches: [{ path: "register/r" }], missed: false });
});

test("what a follower was told is written survives the crash of the leader", async () => {
  const { browser, leader, follower } = await two();
  browser.disk.isSlow = true;
  let isTold = false;
  const set = follower.stage
    .register("r")
    .set(1)
    .then(() => (isTold = true));
  await until(() => leader.place.agent.log.includes("set 1"));
  await settle();
  assert.equal(isTold, false);
  browser.disk.keep();
  await set;
  browser.crash(leader);
  assert.equal(await follower.stage.register("r").get(), 1);
  assert.equal(follower.place.agents.length, 1);
});

test("of calls under way at a crash, what does no harm twice is done again, other calls fail", async () => {
  const { browser, leader, follower } = await two();
  browser.disk.isSlow = true;
  const set = follower.stage.register("r").set(1);
  const add = follower.stage.counter("takes").add(1);
  const failed = assert.rejects(add, (error) => error instanceof InterruptedError && error.begun);
  await until(() => leader.place.agent.log.includes("add 1"));
  await settle();
  browser.crash(leader);
  browser.disk.isSlow = false;
  await failed;
  await set;
  assert.deepEqual(follower.place.agent.log, ["open stage", "set 1"]);
  assert.equal(await follower.stage.register("r").get(), 1);
  assert.equal(await follower.stage.counter("takes").get(), 0);
});

test("calls that never reached the leader are made at the next one, once", async () => {
  const { browser, leader, follower } = await two();
  leader.isGone = true;
  const add = follower.stage.counter("takes").add(1);
  await settle();
  browser.crash(leader);
  await add;
  assert.equal(await follower.stage.counter("takes").get(), 1);
});

test("observers of followers go on after a take-over, with one notice", async () => {
  const browser = new Browser();
  const [leader, second, third] = [await browser.open(), await browser.open(), await browser.open()];
  const heard = [];
  third.stage.observe("register/", (changes) => heard.push(changes.missed));
  await settle();
  browser.crash(leader);
  await until(() => second.place.agents.length === 1);
  await second.stage.register("r").set(1);
  await until(() => heard.length === 2);
  assert.deepEqual(heard, [true, false]);
  assert.equal(third.place.agents.length, 0);
});

test("a leader that closes hands over, and its followers lose nothing", async () => {
  const { leader, follower } = await two();
  await leader.stage.register("r").set(1);
  await follower.stage.counter("takes").add(1);
  await leader.agent.close();
  assert.ok(leader.place.agent.isClosed);
  assert.equal(await follower.stage.register("r").get(), 1);
  assert.equal(await follower.stage.counter("takes").get(), 1);
  await assert.rejects(leader.stage.register("r").get(), ClosedError);
});

test("what a follower held goes back when it crashes", async () => {
  const { browser, leader, follower } = await two();
  const jobs = await follower.stage.queue("jobs");
  await jobs.claim();
  follower.agent.events(() => {});
  await settle();
  assert.equal(leader.place.agent.listeners.size, 1);
  browser.crash(follower);
  await until(() => leader.place.agent.log.includes("give back"));
  assert.equal(leader.place.agent.listeners.size, 0);
  await leader.stage.register("r").set(1);
});

test("a follower that closes leaves the leader alone", async () => {
  const { leader, follower } = await two();
  await follower.agent.close();
  await assert.rejects(follower.stage.register("r").get(), ClosedError);
  await leader.stage.register("r").set(1);
  assert.equal(leader.place.agent.isClosed, undefined);
});

test("a panic of the leader is told to followers, whose handles work again", async () => {
  const { leader, follower } = await two();
  await follower.stage.register("r").set(1);
  const flush = assert.rejects(
    follower.stage.flush(),
    (error) => error instanceof PanicError && /out of bounds/.test(error.message),
  );
  await until(() => leader.place.agent.log.includes("flush"));
  leader.place.trapped("index out of bounds");
  await flush;
  assert.equal(await follower.stage.register("r").get(), 1);
  assert.equal(leader.place.agents.length, 2);
});

test("a store is not shared between agents of different names", async () => {
  const browser = new Browser();
  await browser.open();
  await assert.rejects(browser.open({ name: "b" }), BusyError);
});

test("a leader that cannot open leaves the lead to the next", async () => {
  const browser = new Browser();
  const broken = new MemoryPlace(browser.disk);
  broken.fault = Object.assign(new Error("no room"), { code: "QuotaExceeded" });
  await assert.rejects(browser.open({ tab: { place: broken } }), { code: "QuotaExceeded" });
  const tab = await browser.open();
  assert.equal(tab.place.agents.length, 1);
});

test("a leader whose module fails each time leaves the lead to the next", async () => {
  const { leader, follower } = await two();
  leader.place.panics = 100;
  leader.place.trapped("first");
  await until(() => follower.place.agents.length === 1);
  assert.equal(await follower.stage.register("r").get(), undefined);
  await assert.rejects(leader.stage.register("r").get(), PanicError);
});

test("whoever takes over shows the newest credential", async () => {
  const browser = new Browser();
  const credential = () => ({ token: "old", key: "{}" });
  const [leader, follower] = [
    await browser.open({ credential: credential() }),
    await browser.open({ credential: credential() }),
  ];
  await leader.agent.renew("new");
  await settle();
  browser.crash(leader);
  await follower.stage.register("r").get();
  assert.equal(follower.place.agent.options.credential.token, "new");
});

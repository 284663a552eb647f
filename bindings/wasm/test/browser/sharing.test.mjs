// Pages and a Rust agent: what one writes the others read, and what is decided is the same for all.

import assert from "node:assert/strict";
import { test } from "node:test";

import { transform } from "esbuild";

import { example } from "../readme.mjs";
import { stage } from "./stage.mjs";

const here = stage();

test("a page writes a register; another page and the program read it", async () => {
  const swarm = here.swarm();
  const a = await here.agent({ name: "a", swarm });
  await a.evaluate(async () => {
    await doc.register("setlist").set(["intro", "outro"]);
    await doc.flush();
  });
  const b = await here.agent({ name: "b", swarm });
  const seen = await b.evaluate(async () => {
    await when(async () => (await doc.register("setlist").get()) !== undefined);
    return doc.register("setlist").get();
  });
  assert.deepEqual(seen, ["intro", "outro"]);
  const [read] = await here.program(swarm, "state", "get", "register/setlist");
  assert.deepEqual(read, ["intro", "outro"]);
});

test("two pages and a Rust agent converge on every type", async () => {
  const swarm = here.swarm();
  const pages = await Promise.all(["a", "b"].map((name) => here.agent({ name, swarm })));
  const [a, b] = pages;
  await Promise.all([
    a.evaluate(async () => {
      await doc.register("setlist").set("a");
      await doc.counter("takes").add(2);
      await doc.map("lights").put("left", { colour: "red" });
      await doc.set("guests").insert("ann");
      await doc.list("songs").push("one");
      await doc.text("notes").insert(0, "soft 🎸 ");
      await doc.text("notes").format(0, 4, "bold", true);
      await doc.flush();
    }),
    b.evaluate(async () => {
      await doc.register("setlist").set("b");
      await doc.counter("takes").add(-1);
      await doc.map("lights").put("right", { colour: "blue" });
      await doc.set("guests").insert("bob");
      await doc.list("songs").push("two");
      await doc.text("notes").insert(0, "loud ");
      await doc.flush();
    }),
    here.program(swarm, "state", "set", "counter/takes", "4"),
    here.program(swarm, "state", "set", "map/lights/middle", '"green"'),
    here.program(swarm, "state", "set", "list/songs", '"three"'),
    here.program(swarm, "state", "set", "text/notes", "quiet"),
  ]);
  const [{ digest }] = await here.program(swarm, "doc", "digest");
  for (const page of pages) await page.evaluate((digest) => when(async () => (await doc.digest()) === digest), digest);
  const read = () =>
    Promise.all([
      doc.register("setlist").get(),
      doc.counter("takes").get(),
      doc.map("lights").entries(),
      doc.set("guests").values(),
      doc.list("songs").values(),
      doc.text("notes").spans(),
    ]);
  const [ofA, ofB] = await Promise.all(pages.map((page) => page.evaluate(read)));
  assert.deepEqual(ofA, ofB);
  const [register, takes, lights, guests, songs, notes] = ofA;
  assert.ok(["a", "b"].includes(register));
  assert.equal(takes, 5);
  assert.deepEqual(Object.fromEntries(lights), { left: { colour: "red" }, right: { colour: "blue" }, middle: "green" });
  assert.deepEqual([...guests].sort(), ["ann", "bob"]);
  assert.deepEqual([...songs].sort(), ["one", "three", "two"]);
  const text = notes.map((span) => span.text).join("");
  assert.deepEqual(text.match(/soft|loud|quiet|🎸/gu).sort(), ["loud", "quiet", "soft", "🎸"]);
  assert.deepEqual(notes.filter((span) => span.attributes.bold).map((span) => span.text), ["soft"]);
});

test("a barrier of pages and Rust agents releases all with one outcome", async () => {
  const swarm = here.swarm();
  const rust = ["c", "d"].map((name) => here.program(swarm, "barrier", "arrive", "flash", "--as", name));
  const pages = await Promise.all(["a", "b"].map((name) => here.agent({ name, swarm })));
  const members = ["a", "b", "c", "d"];
  const passages = pages.map((page) =>
    page.evaluate(async (members) => {
      const barrier = await doc.barrier("flash", { members });
      const passage = await barrier.arrive();
      return { isComplete: passage.isComplete, outcome: passage.outcome };
    }, members),
  );
  const [ofA, ofB] = await Promise.all(passages);
  assert.ok(ofA.isComplete && ofB.isComplete);
  assert.deepEqual(ofA, ofB);
  assert.deepEqual(ofA.outcome.tiers, [{ tier: 0, ending: "complete", released: members, missing: [] }]);
  const [[ofC], [ofD]] = await Promise.all(rust);
  assert.deepEqual(ofC.outcome, ofD.outcome);
  assert.deepEqual(ofC.outcome.tiers.map(({ released }) => released), [members]);
});

test("the example of the README does what it says", async () => {
  const page = await here.page();
  const { code } = await transform((await example()).replace(/ws:[^"]*/, here.relay.address), { loader: "ts" });
  await page.addScriptTag({ type: "module", content: `${code}\nwindow.isDone = true;` });
  await page.waitForFunction(() => "isDone" in window);
  const read = async (path) => (await here.program("band", "state", "get", path))[0];
  assert.deepEqual(await read("register/setlist"), ["intro", "outro"]);
  assert.equal(await read("counter/takes"), 1);
  assert.equal(await read("map/lights/left"), "red");
});

test("a page loads the module of the engine it uses, and no other", async () => {
  const page = await here.page();
  const modules = [];
  page.on("request", (request) => request.url().endsWith(".wasm") && modules.push(new URL(request.url()).pathname));
  const swarm = here.swarm();
  await here.open(page, { name: "a", swarm });
  assert.deepEqual(modules.splice(0), ["/aepoch/pkg/yrs/aepoch_wasm_bg.wasm"]);
  const engine = await page.evaluate(async (settings) => {
    const { Agent } = await import("aepoch/automerge");
    const agent = await Agent.open(settings);
    const doc = await agent.document("minutes");
    await doc.text("notes").insert(0, "hello");
    await doc.flush();
    return (await doc.status()).engine;
  }, { name: "b", swarm, connect: here.relay.address });
  assert.equal(engine, "automerge");
  assert.deepEqual(modules, ["/aepoch/pkg/automerge/aepoch_wasm_bg.wasm"]);
});

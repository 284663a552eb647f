// An editor as people have it in their browsers: CodeMirror with its Yjs binding, typed into by keys, beside an agent.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { browser, carets, noBrowser, shown, site, tab } from "./browser.mjs";
import { agent, read, relay, test, until } from "./stage.mjs";

const PHOTOS = process.env.SCREENSHOTS ?? fileURLToPath(new URL("../../../target/screenshots", import.meta.url));
const COLOURS = { Ann: "#c2410c", Bob: "#1d4ed8" };

let pages, chromium;

before(async () => {
  if (noBrowser) return;
  pages = await site();
  chromium = await browser();
});

after(async () => {
  await chromium?.close();
  pages?.close();
});

const needs = { skip: noBrowser };

/** With a relay and people of one browser; fails when a console complains of what was not foreseen. */
const inTabs = (holds) => async (t) => {
  const at = await relay(t, "--allow-origin", pages.origin);
  const context = await chromium.newContext({ viewport: { width: 720, height: 240 } });
  t.after(() => context.close());
  const complaints = [];
  const open = (name) => {
    const asked = { relay: `${at.url}/yjs`, room: "band/stage", name, colour: COLOURS[name] };
    return tab(context, pages.origin, asked, complaints);
  };
  const foreseen = (await holds({ at, ann: await open("Ann"), bob: await open("Bob"), open })) ?? [];
  assert.deepEqual(complaints.filter((text) => !foreseen.some((pattern) => pattern.test(text))), []);
};

test("keys in two tabs and an agent make one text, and all see the same", inTabs(async ({ at, ann, bob }) => {
  await ann.keyboard.type("middle\n");
  await until(async () => (await shown(bob)) === "middle\n");
  await bob.keyboard.press("Control+Home");
  await ann.keyboard.press("Control+End");
  // Capitals are of one, small letters of the other, digits of the agent.
  const [capitals, small] = ["SOFT🎸LOUD\nTHENQUIET", "drums\nbass\nstrings"];
  const adds = async () => {
    for (const digits of ["123", "456", "789"]) await agent(at, "stage", "state", "set", "text/notes", JSON.stringify(digits));
  };
  await Promise.all([ann.keyboard.type(capitals, { delay: 10 }), bob.keyboard.type(small, { delay: 10 }), adds()]);
  const length = `${small}middle\n${capitals}123456789`.length;
  await until(async () => (await shown(ann)).length === length && (await shown(bob)).length === length);
  const text = await shown(ann);
  assert.equal(await shown(bob), text);
  await until(async () => (await read(at, "stage", "text/notes")) === text);
  const of = (letters) => text.match(letters).join("");
  assert.equal(of(/[A-Z🎸]/gu), capitals.replace("\n", ""));
  assert.equal(of(/[a-z]/g), `${small.replaceAll("\n", "")}middle`);
  assert.equal(of(/[0-9]/g), "123456789");
  // What is taken out goes everywhere too.
  await bob.keyboard.press("Control+A");
  await bob.keyboard.type("gone");
  await until(async () => (await shown(ann)) === "gone" && (await read(at, "stage", "text/notes")) === "gone");
}), needs);

test("each sees the other's cursor where it is, until the tab closes", inTabs(async ({ ann, bob, open }) => {
  const seen = async (who, name, before) => {
    await until(async () => (await carets(who)).some((caret) => caret.name === name && caret.before === before));
    assert.equal((await carets(who)).length, 1);
  };
  await ann.keyboard.type("left right");
  await seen(bob, "Ann", "left right");
  for (let n = 0; n < 5; n++) await ann.keyboard.press("ArrowLeft");
  await seen(bob, "Ann", "left ");
  // It stays at its place while others type before it.
  await bob.keyboard.press("Home");
  await bob.keyboard.type("far ");
  await seen(bob, "Ann", "far left ");
  await seen(ann, "Bob", "far ");
  await ann.keyboard.press("Shift+End");
  await until(async () => (await bob.locator(".cm-ySelection").allTextContents()).join("") === "right");
  await mkdir(PHOTOS, { recursive: true });
  await bob.screenshot({ path: `${PHOTOS}/editor.png` });
  await ann.close();
  await until(async () => (await carets(bob)).length === 0);
  const again = await open("Ann");
  await again.keyboard.press("Control+End");
  await seen(bob, "Ann", "far left right");
  // A tab that dies says nothing.
  const session = await again.context().newCDPSession(again);
  session.send("Page.crash").catch(() => {});
  await until(async () => (await carets(bob)).length === 0);
  assert.equal(await shown(bob), "far left right");
}), needs);

test("undo takes back what was typed here, and nothing else", inTabs(async ({ at, ann, bob }) => {
  await ann.keyboard.type("one two");
  await until(async () => (await shown(bob)) === "one two");
  await bob.keyboard.press("Control+End");
  await bob.keyboard.type(" three");
  await until(async () => (await shown(ann)) === "one two three");
  await ann.keyboard.press("Home");
  await ann.keyboard.type("zero ");
  await agent(at, "stage", "state", "set", "text/notes", " four");
  for (const who of [ann, bob]) await until(async () => (await shown(who)) === "zero one two three four");
  // How much one undo takes back depends on how fast it was typed; there are more than enough of them.
  for (let n = 0; n < 20; n++) await ann.keyboard.press("Control+Z");
  for (const who of [ann, bob]) await until(async () => (await shown(who)) === " three four");
  await until(async () => (await read(at, "stage", "text/notes")) === " three four");
  for (let n = 0; n < 20; n++) await ann.keyboard.press("Control+Y");
  for (const who of [ann, bob]) await until(async () => (await shown(who)) === "zero one two three four");
  for (let n = 0; n < 20; n++) await bob.keyboard.press("Control+Z");
  for (const who of [ann, bob]) await until(async () => (await shown(who)) === "zero one two four");
}), needs);

test("a tab without a network catches up when it has one, and so do the others", inTabs(async ({ at, ann, bob }) => {
  await ann.keyboard.type("middle");
  await until(async () => (await shown(bob)) === "middle");
  const session = await ann.context().newCDPSession(ann);
  const network = (offline) =>
    session.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await session.send("Network.enable");
  await network(true);
  // Chromium lets no new connection through then, but keeps those there are.
  await ann.evaluate(() => window.provider.ws.close());
  await ann.waitForFunction(() => !window.provider.wsconnected);
  await ann.keyboard.press("Home");
  await ann.keyboard.type("left ");
  await bob.keyboard.press("End");
  await bob.keyboard.type(" right");
  await agent(at, "stage", "state", "set", "text/notes", "!");
  await until(async () => (await shown(bob)) === "middle right!");
  assert.equal(await shown(ann), "left middle");
  await network(false);
  for (const who of [ann, bob]) await until(async () => (await shown(who)) === "left middle right!");
  await until(async () => (await read(at, "stage", "text/notes")) === "left middle right!");
  // And it is as connected as before.
  await bob.keyboard.type("?");
  await until(async () => (await shown(ann)).includes("?"));
  return [/WebSocket connection to .* failed/];
}), needs);

// Every view of the dashboard, as a relay serves it and a browser shows it, against a swarm at work. Photographs of each
// view, light and dark, go to `target/screenshots/`.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { eventually } from "./eventually.mjs";
import { relay } from "../../bindings/wasm/test/relay.mjs";
import { band } from "./band.mjs";
import { browser, page } from "./browser.mjs";

const PHOTOS = process.env.SCREENSHOTS ?? fileURLToPath(new URL("../../target/screenshots", import.meta.url));
const VIEWS = ["swarm", "flash", "document", "network", "offline"];

let at, swarm, chromium, shown, complaints;

before(async () => {
  await mkdir(PHOTOS, { recursive: true });
  at = await relay();
  swarm = await band(at.address);
  chromium = await browser();
  ({ page: shown, complaints } = await page(chromium.context));
  shown.setDefaultTimeout(15_000);
  await shown.goto(at.address.replace("ws:", "http:"));
  await shown.getByText("connected", { exact: true }).waitFor();
  await shown.getByLabel("document").and(shown.locator("select")).waitFor();
});

after(async () => {
  await chromium?.close();
  await swarm?.close();
  at?.stop();
});

async function go(view) {
  await shown.evaluate((to) => (location.hash = `#/${to}`), view);
  await shown.locator(`main.view-${view}`).waitFor();
}

/** The row of a table that has this text in a cell of its own. */
function row(table, text) {
  return shown.getByRole("table", { name: table }).getByRole("row").filter({ has: shown.getByText(text, { exact: true }) });
}

test("the swarm: every agent with its tier, its state and who waits for it", async () => {
  await go("swarm");
  await row("Agents of the swarm", "gamma-3").getByText("gamma", { exact: true }).waitFor();
  await row("Agents of the swarm", "alpha-1").getByText("alpha", { exact: true }).waitFor();
  await row("Agents of the swarm", "alpha-1").getByText(/job idle/).waitFor();
  await row("Agents of the swarm", "alpha-1").getByText("present").waitFor();
  await row("Agents of the swarm", "alpha-2").getByText(/curtain: has not arrived/).waitFor();
  await shown.getByRole("searchbox").fill("gamma-2");
  assert.equal(await shown.getByRole("table", { name: "Agents of the swarm" }).getByRole("row").count(), 2);
  await shown.getByRole("searchbox").fill("");
});

test("flash: what waits says why, what is over says how, queues show holders and tokens", async () => {
  await go("flash");
  await swarm.perform();
  await row("Barriers, epochs, polls and decisions", "soundcheck").getByText("complete").waitFor();
  await row("Barriers, epochs, polls and decisions", "encore").getByText("approved: yes").waitFor();
  await shown.getByRole("listitem").filter({ hasText: "curtain" }).getByText(/alpha-2 has not arrived/).waitFor();
  const held = swarm.held;
  const item = row("Items of cues", held.item);
  await item.getByText("held", { exact: true }).waitFor();
  await item.getByText("gamma-1").waitFor();
  await item.getByText(String(held.token), { exact: true }).first().waitFor();
  // An arrival is seen without a look.
  const [stage] = [swarm.stages.get("alpha-2")];
  const curtain = await stage.barrier("curtain");
  await curtain.arriveNow();
  await row("Barriers, epochs, polls and decisions", "curtain").getByText(/alpha 2\/2/).waitFor();
});

test("document: edited in place, taken back, conflicts settled by a click", async () => {
  await go("document");
  const stage = swarm.stages.get("alpha-1");
  const seen = (holds) => eventually(stage, holds);
  await shown.getByRole("listitem").filter({ hasText: "key" }).getByRole("button", { name: /A minor/ }).click();
  await seen(async () => (await stage.register("key").values()).length === 1);
  assert.equal(await stage.register("key").get(), "A minor");

  await shown.getByRole("button", { name: /Edit map\/lights\/right/ }).click();
  await shown.keyboard.press("Control+A");
  await shown.keyboard.type('{"colour":"blue"}');
  await shown.keyboard.press("Enter");
  await seen(async () => (await stage.map("lights").get("right")).colour === "blue");
  await shown.getByRole("button", { name: "Undo" }).click();
  await seen(async () => (await stage.map("lights").get("right")) === "off");
  await shown.getByRole("button", { name: "Redo" }).click();
  await seen(async () => (await stage.map("lights").get("right")).colour === "blue");

  await shown.getByRole("button", { name: /Edit text\/notes/ }).click();
  await shown.keyboard.press("End");
  await shown.keyboard.type(", then quiet");
  await shown.keyboard.press("Enter");
  await seen(async () => (await stage.text("notes").get()) === "soft start, loud end, then quiet");
  // Somebody else's change is seen, with its writer.
  await swarm.stages.get("gamma-2").counter("takes").add(4);
  await row("Entries of stage", "takes").getByText("7", { exact: true }).waitFor();
  await row("Entries of stage", "takes").getByText("gamma-2").waitFor();
});

test("history: a document with a past is shown as it was after each change", async () => {
  const chooser = shown.getByLabel("document").and(shown.locator("select"));
  await chooser.selectOption({ label: "variations" });
  await go("document");
  await row("Entries of variations", "three").waitFor();
  const slider = shown.getByRole("slider", { name: "Change" });
  await shown.getByText("now, after 5 changes").waitFor();
  assert.equal(await row("Entries of variations", "two").count(), 0);
  // Four were written, after the one that made the map.
  await slider.focus();
  await shown.keyboard.press("ArrowLeft");
  await shown.getByText("change 4 of 5, by arranger, 1 operation").waitFor();
  await row("Entries of variations", "two").getByText("3", { exact: true }).waitFor();
  assert.equal(await shown.getByRole("button", { name: "Remove map/bars/two" }).count(), 0, "the past is not to be edited");
  await shown.screenshot({ path: `${PHOTOS}/history-light.png` });
  await shown.keyboard.press("Home");
  await shown.getByText("before the first change").waitFor();
  await shown.getByText("It is empty.").waitFor();
  // What is written now does not show in the past, but counts.
  await swarm.score.map("bars").put("four", 4);
  await shown.getByRole("button", { name: "Now" }).click();
  await shown.getByText("now, after 6 changes").waitFor();
  await row("Entries of variations", "four").waitFor();
  await chooser.selectOption({ label: "stage" });
  await row("Entries of stage", "takes").waitFor();
});

test("network: the relay's numbers, and nothing has gone wrong", async () => {
  await go("network");
  await shown.getByText("Bytes at the relay").waitFor();
  await row("Documents at the relay", "band/stage").waitFor();
  await shown.waitForFunction(() => document.querySelectorAll(".chart canvas").length >= 5);
  await shown.getByText("Nothing has gone wrong.").waitFor();
});

test("offline: what is written while cut off goes out on return, and its size is told", async () => {
  await go("offline");
  const main = shown.getByRole("main");
  await main.getByRole("switch").click();
  await main.getByText("cut off", { exact: true }).waitFor();
  await main.getByLabel("name").fill("mood");
  await main.getByLabel(/value, JSON/).fill("calm");
  await main.getByRole("button", { name: "Write" }).click();
  await row("Changes written offline", "register/mood").waitFor();
  assert.equal(await swarm.stages.get("alpha-1").register("mood").get(), undefined);
  await main.getByRole("switch").click();
  const absence = shown.getByRole("table", { name: "Absences of this tab" }).getByRole("row").nth(1);
  await absence.getByText("all of it is durable at the relay").waitFor();
  const cells = await absence.getByRole("cell").allTextContents();
  assert.equal(cells[2], "1", cells.join(" | "));
  assert.match(cells[4], /^\d+(\.\d)? k?B$/, cells.join(" | "));
  const stage = swarm.stages.get("alpha-1");
  await eventually(stage, async () => (await stage.register("mood").get()) === "calm");
});

test("keys alone lead everywhere, and what has the focus is to be seen", async () => {
  // One right behind the other, as quick fingers or a macro have it: nothing of the page runs between but what is due at once.
  await shown.keyboard.press("5");
  await shown.locator("main.view-offline").waitFor();
  const focused = await shown.evaluate(async () => {
    dispatchEvent(new KeyboardEvent("keydown", { key: "1" }));
    await Promise.resolve();
    dispatchEvent(new KeyboardEvent("keydown", { key: "/" }));
    return document.activeElement.className;
  });
  assert.equal(focused, "filter");
  await shown.evaluate(() => document.activeElement.blur());
  await shown.locator("body").press("1");
  for (const [index, view] of VIEWS.entries()) {
    await shown.keyboard.press(String(index + 1));
    await shown.locator(`main.view-${view}`).waitFor();
    assert.equal(await shown.locator("nav a[aria-current]").textContent(), view[0].toUpperCase() + view.slice(1));
  }
  await shown.keyboard.press("1");
  await shown.keyboard.press("/");
  assert.equal(await shown.evaluate(() => document.activeElement.className), "filter");
  await shown.keyboard.press("Tab");
  assert.notEqual(await shown.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
  // Everything that can be pressed has a name, and there is one landmark of each kind.
  for (const view of VIEWS) {
    await go(view);
    const unnamed = await shown.evaluate(() =>
      [...document.querySelectorAll("button, a, input, select, textarea")]
        .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length))
        .map((one) => one.outerHTML),
    );
    assert.deepEqual(unnamed, [], view);
    assert.deepEqual([await shown.getByRole("main").count(), await shown.getByRole("navigation").count(), await shown.getByRole("banner").count()], [1, 1, 1]);
  }
});

test("photographs of every view, light and dark", async () => {
  for (const theme of ["light", "dark"]) {
    await shown.getByLabel("Theme").selectOption(theme);
    assert.equal(await shown.evaluate(() => document.documentElement.dataset.theme), theme);
    for (const view of VIEWS) {
      await go(view);
      await shown.screenshot({ path: `${PHOTOS}/${view}-${theme}.png` });
    }
  }
});

test("nothing was complained of in the console", () => assert.deepEqual(complaints, []));

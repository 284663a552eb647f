// Documents on the other engine, and a relay that asks for a credential: the two things that make the page load or ask
// for more than it does at first.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent } from "aepoch/automerge";
import { relay } from "../../bindings/wasm/test/relay.mjs";
import { browser, page } from "./browser.mjs";

let chromium;
before(async () => {
  chromium = await browser();
});
after(() => chromium?.close());

test("a document on automerge is shown and edited", async () => {
  const at = await relay();
  const agent = await Agent.open({ name: "scribe", swarm: "band", connect: at.address, engine: "automerge" });
  const { page: shown, complaints } = await page(chromium.context);
  try {
    const lyrics = await agent.document("lyrics");
    await lyrics.map("verse").put("one", "hello");
    await lyrics.flush();
    await shown.goto(`${at.address.replace("ws:", "http:")}/#/document`);
    await shown.getByText("automerge", { exact: true }).first().waitFor();
    await shown.getByRole("button", { name: /Edit map\/verse\/one/ }).click();
    await shown.keyboard.press("Control+A");
    await shown.keyboard.type("goodbye");
    await shown.keyboard.press("Enter");
    const changes = lyrics.observe();
    while ((await lyrics.map("verse").get("one")) !== "goodbye") await changes.next();
    changes.stop();
    assert.deepEqual(complaints, []);
  } finally {
    await shown.close();
    await agent.close();
    at.stop();
  }
});

// A relay that asks who connects: the page is public, asks for a credential, and shows it in messages and headers only.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { browser, page } from "./browser.mjs";

const binary = process.env.AEPOCH ?? fileURLToPath(new URL("../../target/release/aepoch", import.meta.url));

let folder, serving, url, chromium;
const at = (name) => join(folder, name);
const run = (...args) => execFileSync(binary, args, { stdio: ["ignore", "pipe", "pipe"] });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "aepoch-credential-"));
  run("policy", "init", at("swarm.json"), "--new-keys", at("keys"), "--json");
  const mint = ["token", "mint", "--policy", at("swarm.json"), "--key", at("keys/issuer.key"), "--tier", "gamma"];
  run(...mint, "--room", "band/**=all", "--agents", "ada,eye", "--into", at("agents"));
  serving = spawn(binary, ["serve", "--memory", "--listen", "127.0.0.1:0", "--print-address", "--policy", at("swarm.json")], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  url = await new Promise((found, failed) => {
    createInterface({ input: serving.stdout }).once("line", found);
    serving.once("exit", (code) => failed(new Error(`the relay ended with ${code}`)));
  });
  const place = ["--connect", url, "--swarm", "band", "--document", "stage"];
  run("state", "set", "register/setlist", '["intro"]', ...place, "--credential", at("agents/ada.token"), "--key", at("agents/ada.key"));
  chromium = await browser();
});

after(async () => {
  await chromium?.close();
  serving?.kill();
  await rm(folder, { recursive: true, force: true });
});

test("a credential is asked for, refused when it is none, and never in an address", async () => {
  const { page: shown, complaints } = await page(chromium.context);
  shown.setDefaultTimeout(15_000);
  const [token, key] = [await readFile(at("agents/eye.token"), "utf8"), await readFile(at("agents/eye.key"), "utf8")];
  const addresses = [];
  shown.on("request", (request) => addresses.push(request.url()));
  await shown.goto(url.replace("ws:", "http:") + "/#/document");
  await shown.getByText("This relay asks who you are").waitFor();
  await shown.getByLabel("Token").fill("nonsense");
  await shown.getByLabel("Its private key, as JWK").fill(key);
  await shown.getByRole("button", { name: "Show it" }).click();
  await shown.getByRole("alert").waitFor();

  await shown.getByLabel("Token").fill(token);
  await shown.getByRole("button", { name: "Show it" }).click();
  await shown.getByText("connected", { exact: true }).waitFor();
  await shown.getByRole("button", { name: /Edit register\/setlist/ }).waitFor();

  const secrets = [token.trim(), JSON.parse(key).d];
  assert.deepEqual(addresses.filter((address) => secrets.some((secret) => address.includes(secret))), []);
  assert.deepEqual(await shown.evaluate(() => [Object.keys(localStorage), document.cookie]), [[], ""]);
  // The browser itself notes each 401.
  assert.deepEqual(complaints.filter((complaint) => !complaint.includes("401")), []);
});

// Clients that show a pass at a relay with a policy, and what becomes of those that do not.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createPrivateKey, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { Repo } from "@automerge/automerge-repo";

import { adapterOf, binary, client, relay, test, until } from "./stage.mjs";

const ALL = "read,write,presence";

/** A relay whose policy has an issuer of passes. */
async function guarded(t, ...more) {
  const folder = mkdtempSync(join(tmpdir(), "aepoch-interop-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name) => join(folder, name);
  const run = async (...args) => (await promisify(execFile)(binary, args)).stdout.trim();
  const policy = at("swarm.json");
  const { swarm } = JSON.parse(await run("policy", "init", policy, "--new-keys", at("keys"), "--json"));
  const [root, issuer] = ["keys/root.key", "keys/issuer.key"].map(at);
  const pass = (subject, ...rooms) => {
    const args = ["token", "pass", "--policy", policy, "--key", issuer, "--subject", subject];
    return run(...args, ...rooms.flatMap((room) => ["--room", room]));
  };
  return { at: await relay(t, "--policy", policy, ...more), pass, run, policy, swarm, root, issuer };
}

/** How a y-websocket provider's connection was closed. */
const closing = (made) =>
  new Promise((closed) => made.provider.on("connection-close", (event) => event && closed(event)));

test("y-websocket shows its pass in params or as a subprotocol, and has the rights it says", async (t) => {
  const { at, pass } = await guarded(t);
  const writes = await pass("alice", `band/*=${ALL}`);
  const reads = await pass("bob", "band/*=read");
  const alice = await client(t, "y-websocket 3", at, "stage", { provider: { params: { token: writes } } });
  const bob = await client(t, "y-websocket 3", at, "stage", { provider: { protocols: [reads] } });
  alice.doc.getMap("m").set("who", "alice");
  alice.awareness.setLocalState({ cursor: 1 });
  await until(() => bob.doc.getMap("m").get("who") === "alice");
  await until(() => bob.awareness.getStates().get(alice.doc.clientID)?.cursor === 1);
  bob.doc.getMap("m").set("who", "bob");
  bob.awareness.setLocalState({ cursor: 2 });
  alice.doc.getMap("m").set("next", 1);
  await until(() => bob.doc.getMap("m").get("next") === 1);
  const eve = await client(t, "y-websocket 3", at, "stage", { provider: { params: { token: writes } } });
  assert.equal(eve.doc.getMap("m").get("who"), "alice");
  assert.equal(alice.awareness.getStates().has(bob.doc.clientID), false, "bob has no right to be seen");
});

test("y-websocket without a pass, with a bad one or in another room is closed and told why", async (t) => {
  const { at, pass, run, policy, issuer } = await guarded(t);
  const token = await pass("alice", `band/notes=${ALL}`);
  const turnedAway = async (provider) => {
    const made = await client(t, "y-websocket 3", at, "stage", { waits: false, provider });
    const { code, reason } = await closing(made);
    return `${code} ${reason}`;
  };
  assert.match(await turnedAway({}), /^4401 .*guests with a pass only/);
  assert.match(await turnedAway({ params: { token: "guess" } }), /^4401 the pass was refused/);
  assert.match(await turnedAway({ params: { token: `${token.slice(0, -4)}AAAA` } }), /^4401 .*signature/);
  assert.match(await turnedAway({ params: { token } }), /^4403 no right to read `band\/stage`/);

  // An agent's credential is bound to a key, which clients of other libraries do not show.
  const holder = JSON.parse(await run("key", "new", `${policy}.holder`, "--json")).public;
  const asked = ["--subject", "w1", `--holder=${holder}`, "--tier", "gamma", "--room", "band/**=all"];
  const credential = await run("token", "mint", "--policy", policy, "--key", issuer, ...asked);
  assert.match(await turnedAway({ params: { token: credential } }), /^4401 .*guest\+jwt/);
});

/** Makes passes as an application's own backend would, that end in so many seconds. */
async function backend({ pass, swarm, issuer }) {
  const { kid } = JSON.parse(Buffer.from((await pass("x", "band/*=read")).split(".")[0], "base64url"));
  const key = createPrivateKey({ key: JSON.parse(readFileSync(issuer, "utf8")), format: "jwk" });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return (seconds) => {
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now - 60, nbf: now - 60, exp: now + seconds };
    const swm = { rooms: [{ p: "band/*", a: ["read", "write", "presence"] }] };
    const claims = { iss: "app", sub: "alice", aud: swarm, ...times, jti: crypto.randomUUID(), swm };
    const signed = `${part({ alg: "EdDSA", typ: "guest+jwt", kid })}.${part(claims)}`;
    return `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`;
  };
}

test("a pass made by an application's own backend is as good", async (t) => {
  const made = await guarded(t);
  const token = (await backend(made))(300);
  const alice = await client(t, "y-websocket 3", made.at, "stage", { provider: { params: { token } } });
  assert.equal(alice.isSynced(), true);
});

for (const library of ["y-websocket 3", "y-websocket 2"]) {
  test(`${library} comes back with a newer pass when its own has ended`, async (t) => {
    const made = await guarded(t);
    const mint = await backend(made);
    // Clocks may differ by 30 s, so it has two left, and may not be let in once more.
    const alice = await client(t, library, made.at, "stage", { provider: { params: { token: mint(-28) } } });
    const closed = closing(alice);
    alice.provider.params.token = mint(300);
    assert.equal((await closed).code, 4505);
    await until(() => alice.provider.synced);
    alice.doc.getMap("m").set("k", 1);
    const bob = await client(t, library, made.at, "stage", { provider: { params: { token: mint(300) } } });
    await until(() => bob.doc.getMap("m").get("k") === 1);
  });
}

test("Hocuspocus shows a pass for each document of a socket, and is told which are denied", async (t) => {
  const { at, pass } = await guarded(t);
  const alice = (room) => pass("alice", room);
  const writer = await client(t, "hocuspocus 4", at, "stage", { provider: { token: () => alice(`band/stage=${ALL}`) } });
  writer.doc.getMap("m").set("k", 1);
  await until(() => writer.provider.unsyncedChanges === 0);

  const socket = writer.provider.configuration.websocketProvider;
  const reader = await client(t, "hocuspocus 4", at, "notes", { socket, provider: { token: await alice("band/notes=read") } });
  assert.equal(reader.provider.authorizedScope, "readonly");
  const denied = async (token) => {
    let told;
    const reason = new Promise((failed) => (told = failed));
    const provider = { token, onAuthenticationFailed: ({ reason }) => told(reason) };
    await client(t, "hocuspocus 4", at, "secret", { socket, waits: false, provider });
    return reason;
  };
  assert.match(await denied(await alice("band/notes=read")), /no right to read `band\/secret`/);
  writer.doc.getMap("m").set("k", 2);
  await until(() => writer.provider.unsyncedChanges === 0);
});

test("automerge-repo shows its pass in the address, and a document that is not granted is unavailable", async (t) => {
  const { at, pass } = await guarded(t);
  const repo = (token) => {
    const made = new Repo({ network: [adapterOf(`${at.url}/automerge/band?token=${token}`)] });
    t.after(() => made.shutdown());
    return made;
  };
  const writer = repo(await pass("alice", `band/*=${ALL}`));
  const handle = writer.create({ k: 1 });
  const reader = repo(await pass("bob", "band/*=read"));
  const found = await reader.find(handle.url);
  assert.equal(found.doc().k, 1);
  handle.change((doc) => (doc.k = 2));
  await until(() => found.doc().k === 2);
  const stranger = repo(await pass("eve", `band/other=${ALL}`));
  await assert.rejects(stranger.find(handle.url), /unavailable/);
});

test("a policy that revokes a name ends its connections", async (t) => {
  const { at, pass, run, policy, root } = await guarded(t);
  const token = await pass("alice", `band/*=${ALL}`);
  const alice = await client(t, "y-websocket 3", at, "stage", { provider: { params: { token } } });
  const closed = closing(alice);
  await run("policy", "revoke", policy, "--subject", "alice", "--key", root);
  assert.equal((await closed).code, 4403);
});

// A relay that dies and comes back: all who were connected are there again at once.

import assert from "node:assert/strict";

import { member } from "./crowd.mjs";
import { agent, client, clients, read, relay, test, until } from "./stage.mjs";

const MANY = Number(process.env.INTEROP_CONNECTIONS ?? 1_000);
const PROVIDERS = 30;
const BEFORE = 200;

// A connection is an open file here and one at the relay, which has the limit from here. Node has raised it as far as it goes.
const files = process.report.getReport().userLimits.open_files.soft;
const skip = files < MANY + 200 && `needs ${MANY + 200} open files, and the limit is ${files}`;

const notes = ({ doc }) => doc.getText("notes");
const map = ({ doc }) => doc.getMap("m");

test(`${MANY} connections come back at once when the relay does`, async (t) => {
  const at = await relay(t);
  const first = await client(t, "y-websocket 3", at, "stage");
  notes(first).insert(0, "It was there before. ".repeat(500));
  for (let n = 0; n < BEFORE; n++) map(first).set(`before-${n}`, n);
  const libraries = Object.keys(clients);
  const library = (n) => libraries[n % libraries.length];
  const others = Array.from({ length: PROVIDERS - 1 }, (_, n) => client(t, library(n), at, "stage"));
  const all = [first, ...(await Promise.all(others))];
  const refusals = [];
  while (all.length < MANY) all.push(member(t, at, "stage", refusals));
  const connected = async () => {
    const [yjs, hocuspocus] = ["yjs", "hocuspocus"].map((wire) => at.metric(`aepoch_wire_connections{wire="${wire}"}`));
    return (await yjs) + (await hocuspocus);
  };
  const allHave = async (entries) => {
    for (const one of all) await until(() => map(one).size === entries);
    await until(async () => (await connected()) === all.length);
  };
  await allHave(BEFORE);

  await at.kill();
  const writers = all.filter((_, n) => n < PROVIDERS || n % 10 === 0);
  for (const [n, one] of writers.entries()) {
    map(one).set(`meanwhile-${n}`, n);
    notes(one).insert(0, `<${n}>`);
    // The same for each of them.
    notes(one).delete(notes(one).length - 1, 1);
  }
  await at.start();
  await agent(at, "stage", "state", "set", "map/m/agent", "true");
  await allHave(BEFORE + writers.length + 1);
  const text = notes(first).toString();
  for (const n of writers.keys()) assert.ok(text.includes(`<${n}>`), `what ${n} has written`);
  assert.ok(text.endsWith("It was there before."));
  for (const one of all) {
    await until(() => notes(one).toString() === text);
    assert.deepEqual(map(one).toJSON(), map(first).toJSON());
  }
  assert.deepEqual(refusals, []);

  // The relay has it too, for those who come later.
  const late = await client(t, "y-websocket 3", at, "stage");
  assert.equal(notes(late).toString(), text);
  assert.deepEqual(map(late).toJSON(), map(first).toJSON());
  assert.equal(await read(at, "stage", "text/notes"), text);
}, { skip });

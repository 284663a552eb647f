// The package's entries: each runs on an engine of its own, and the other one is not loaded.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import * as yrs from "aepoch";
import * as automerge from "aepoch/automerge";
import { relay } from "./relay.mjs";

let at;
before(async () => {
  at = await relay();
});
after(() => at.stop());

test("the entries export the same names", () => {
  assert.deepEqual(Object.keys(automerge), Object.keys(yrs));
  assert.notEqual(automerge.Agent, yrs.Agent);
  assert.equal(automerge.NodeError, yrs.NodeError);
});

for (const [engine, { Agent }] of Object.entries({ yrs, automerge })) {
  test(`two agents on ${engine} converge`, async (t) => {
    const open = (name) => Agent.open({ name, swarm: engine, connect: at.address });
    const agents = await Promise.all(["a", "b"].map(open));
    t.after(() => Promise.all(agents.map((agent) => agent.close())));
    const [left, right] = await Promise.all(agents.map((agent) => agent.document("stage")));
    await Promise.all([left.map("lights").put("left", "red"), right.map("lights").put("right", "blue")]);
    await Promise.all([left.text("notes").insert(0, "one"), right.text("notes").insert(0, "two")]);
    await Promise.all([left.flush(), right.flush()]);
    for (const document of [left, right]) {
      const changes = document.observe();
      while ((await document.text("notes").get()).length < 6 || (await document.map("lights").entries()).length < 2) await changes.next();
      changes.stop();
    }
    assert.equal(await left.digest(), await right.digest());
    assert.equal((await left.status()).engine, engine);
  });
}

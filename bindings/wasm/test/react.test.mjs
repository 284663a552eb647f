// Hooks: components render when what they read has changed, and not for anything else.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent } from "aepoch";
import { useBarrier, useDocument, usePresence, useRegister } from "aepoch/react";
import { StrictMode, createElement } from "react";
import { act, create } from "react-test-renderer";
import { until } from "./memory.mjs";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;

let agent;
before(async () => {
  agent = await Agent.open({ name: "a", swarm: "band" });
});
after(() => agent.close());

/** A component that keeps what a hook gives at each render. */
function rendered(t, hook) {
  const renders = [];
  const Component = () => {
    renders.push(hook());
    return null;
  };
  let root;
  act(() => {
    root = create(createElement(Component));
  });
  t.after(() => act(() => root.unmount()));
  return { renders, root, last: () => renders.at(-1) };
}

const shown = (holds) => act(() => until(holds));

test("a register is rendered once for each change, and not for others", async (t) => {
  const stage = await agent.document("registers");
  await stage.register("r").set({ x: 1 });
  const { renders, last } = rendered(t, () => useRegister(stage, "r"));
  await shown(() => last()[0]?.x === 1);
  const at = renders.length;
  await act(async () => {
    await stage.register("r2").set(1);
    await stage.register("other").set(1);
    // Equal to what is there.
    await stage.register("r").set({ x: 1 });
    await last()[1]({ x: 2 });
  });
  await shown(() => last()[0]?.x === 2);
  assert.equal(renders.length, at + 1);
  assert.equal(last()[1], renders[0][1]);
});

test("a document is opened for its component, and closed with it", async (t) => {
  const closed = [];
  const spy = {
    document: async (name) => {
      const document = await agent.document(name);
      const close = document.close.bind(document);
      document.close = () => (closed.push(name), close());
      return document;
    },
  };
  const renders = [];
  const Component = ({ name }) => {
    renders.push(useDocument(spy, name));
    return null;
  };
  let root;
  await act(async () => {
    root = create(createElement(StrictMode, null, createElement(Component, { name: "one" })));
  });
  await shown(() => renders.at(-1)?.name === "one");
  await act(async () => root.update(createElement(StrictMode, null, createElement(Component, { name: "two" }))));
  await shown(() => renders.at(-1)?.name === "two");
  assert.ok(closed.includes("one") && !closed.includes("two"));
  await act(async () => root.unmount());
  assert.ok(closed.includes("two"));
});

test("presence is rendered as it changes", async (t) => {
  const stage = await agent.document("presence");
  const { last } = rendered(t, () => usePresence(agent, stage));
  assert.deepEqual(last()[0], []);
  await act(() => last()[1]({ cursor: 1 }));
  await shown(() => last()[0].length === 1);
  assert.deepEqual([last()[0][0].agent, last()[0][0].state], ["a", { cursor: 1 }]);
});

test("a barrier is arrived at, and its end rendered", async (t) => {
  const stage = await agent.document("barriers");
  const { last } = rendered(t, () => useBarrier(stage, "flash", { members: ["a"] }));
  assert.equal(last().phase, "idle");
  let arriving;
  act(() => {
    arriving = last().arrive();
  });
  assert.equal(last().phase, "waiting");
  const passage = await act(() => arriving);
  assert.ok(passage.isComplete);
  assert.deepEqual([last().phase, last().passage], ["passed", passage]);
  // Arrived already.
  await act(() => last().arrive());
  assert.deepEqual([last().phase, last().error.code], ["failed", "Node"]);
});

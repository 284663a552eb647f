// Every library by itself: two of its clients, and an agent.

import assert from "node:assert/strict";

import { agent, client, clients, end, read, relay, test, until, Y } from "./stage.mjs";

for (const library of Object.keys(clients)) {
  const named = (text) => `${library}: ${text}`;

  test(named("text, maps, arrays, nested types and formatting are the same for both"), async (t) => {
    const at = await relay(t);
    const [a, b] = [await client(t, library, at, "stage"), await client(t, library, at, "stage")];
    a.doc.getText("notes").insert(0, "soft 🎸 loud");
    a.doc.getText("notes").format(0, 4, { bold: true });
    b.doc.getMap("lights").set("left", { colour: "red", at: [1, 2.5, null, true] });
    b.doc.getArray("songs").insert(0, ["one", "two"]);
    const nested = new Y.Map();
    a.doc.getMap("tree").set("branch", nested);
    nested.set("leaf", new Y.Text("green"));
    const paragraph = new Y.XmlElement("p");
    b.doc.getXmlFragment("page").insert(0, [paragraph]);
    paragraph.insert(0, [new Y.XmlText("words")]);
    await until(() => b.doc.getMap("tree").get("branch")?.get("leaf")?.toString() === "green");
    await until(() => a.doc.getXmlFragment("page").toString() === "<p>words</p>");
    assert.deepEqual(b.doc.getText("notes").toDelta(), [
      { insert: "soft", attributes: { bold: true } },
      { insert: " 🎸 loud" },
    ]);
    await until(() => a.doc.getMap("lights").get("left"));
    assert.deepEqual(a.doc.getMap("lights").get("left"), { colour: "red", at: [1, 2.5, null, true] });
    await until(() => a.doc.getArray("songs").length === 2);
    a.doc.getArray("songs").delete(0);
    nested.delete("leaf");
    await until(() => b.doc.getArray("songs").length === 1 && !b.doc.getMap("tree").get("branch").has("leaf"));
    assert.deepEqual(Y.encodeStateVector(a.doc), Y.encodeStateVector(b.doc));
  });

  test(named("an agent and a client edit one document"), async (t) => {
    const at = await relay(t);
    await agent(at, "stage", "state", "set", "map/m/agent", "1");
    const a = await client(t, library, at, "stage");
    await until(() => a.doc.getMap("m").get("agent") === 1);
    a.doc.getMap("m").set("client", "2");
    a.doc.getText("notes").insert(0, "hello");
    await until(async () => (await read(at, "stage", "text/notes")) === "hello");
    assert.equal(await read(at, "stage", "map/m/client"), "2");
    await agent(at, "stage", "state", "set", "text/notes", " world");
    await until(() => a.doc.getText("notes").toString() === "hello world");
    a.doc.getText("notes").delete(0, 6);
    await until(async () => (await read(at, "stage", "text/notes")) === "world");
  });

  test(named("who is there is seen, changes, and goes"), async (t) => {
    const at = await relay(t);
    const [a, b] = [await client(t, library, at, "stage"), await client(t, library, at, "stage")];
    a.awareness.setLocalStateField("user", { name: "ann" });
    const seen = () => b.awareness.getStates().get(a.doc.clientID)?.user?.name;
    await until(() => seen() === "ann");
    a.awareness.setLocalStateField("user", { name: "Ann" });
    await until(() => seen() === "Ann");
    const c = await client(t, library, at, "stage");
    await until(() => c.awareness.getStates().has(a.doc.clientID) && c.awareness.getStates().has(b.doc.clientID));
    await a.disconnect();
    await until(() => !b.awareness.getStates().has(a.doc.clientID));
    a.connect();
    await until(() => seen() === "Ann");
  });

  test(named("what was done offline is there when both are back"), async (t) => {
    const at = await relay(t);
    const [a, b] = [await client(t, library, at, "stage"), await client(t, library, at, "stage")];
    a.doc.getText("notes").insert(0, "middle");
    await until(() => b.doc.getText("notes").toString() === "middle");
    await Promise.all([a.disconnect(), b.disconnect()]);
    a.doc.getText("notes").insert(0, "left ");
    b.doc.getText("notes").insert(6, " right");
    b.doc.getText("notes").delete(0, 3);
    a.connect();
    b.connect();
    for (const { doc } of [a, b]) await until(() => doc.getText("notes").toString() === "left dle right");
  });

  test(named("a relay that is killed and comes back has lost nothing"), async (t) => {
    const at = await relay(t);
    const a = await client(t, library, at, "stage");
    for (let n = 0; n < 100; n++) a.doc.getMap("m").set(`k${n}`, n);
    if (library.startsWith("hocuspocus")) {
      // Told to be durable, so it may be forgotten here.
      await until(() => !a.provider.hasUnsyncedChanges);
      await at.kill();
      end(a);
    } else {
      await at.kill();
    }
    a.doc.getMap("m").set("meanwhile", true);
    await at.start();
    const b = await client(t, library, at, "stage");
    await until(() => b.doc.getMap("m").get("k99") === 99);
    if (!library.startsWith("hocuspocus")) await until(() => b.doc.getMap("m").get("meanwhile"));
    assert.equal(await read(at, "stage", "map/m/k0"), 0);
  });

  test(named("undo and redo"), async (t) => {
    const at = await relay(t);
    const [a, b] = [await client(t, library, at, "stage"), await client(t, library, at, "stage")];
    const [left, right] = [a.doc.getText("notes"), b.doc.getText("notes")];
    const undo = new Y.UndoManager(left, { captureTimeout: 0 });
    left.insert(0, "one ");
    left.insert(4, "two");
    await until(() => right.toString() === "one two");
    right.insert(7, " three");
    await until(() => left.toString() === "one two three");
    undo.undo();
    await until(() => right.toString() === "one  three");
    undo.redo();
    await until(() => right.toString() === "one two three");
  });

  test(named("who may only read sees everything, is seen, and changes nothing"), async (t) => {
    const at = await relay(t, "--guests", "read");
    await agent(at, "stage", "state", "set", "map/m/k", "1");
    const [a, b] = [await client(t, library, at, "stage"), await client(t, library, at, "stage")];
    await until(() => a.doc.getMap("m").get("k") === 1);
    a.awareness.setLocalStateField("user", "ann");
    await until(() => b.awareness.getStates().get(a.doc.clientID)?.user === "ann");
    a.doc.getMap("m").set("k", 2);
    await until(async () => (await at.metric(`aepoch_wire_refused_total{wire="${library.split(/[- ]/)[0] === "y" ? "yjs" : "hocuspocus"}"}`)) > 0);
    if (library.startsWith("hocuspocus")) {
      assert.equal(a.provider.authorizedScope, "readonly");
      assert.ok(a.provider.hasUnsyncedChanges, "it is not told that its change is kept");
    }
    assert.equal(await read(at, "stage", "map/m/k"), 1);
    assert.equal(b.doc.getMap("m").get("k"), 1);
  });
}

// Subdocuments: the parent holds a guid and options, and each is a room of its own under its guid.

import assert from "node:assert/strict";

import { agent, client, clients, end, read, relay, test, until, Y } from "./stage.mjs";

/** A client of the parent that notes what becomes of its subdocuments. */
async function reader(t, library, at) {
  const made = await client(t, library, at, "songs", { waits: false });
  const events = { added: [], loaded: [], removed: [] };
  made.doc.on("subdocs", (happened) => {
    for (const what of Object.keys(events)) for (const { guid } of happened[what]) events[what].push(guid);
  });
  await until(made.isSynced);
  return { ...made, events, songs: made.doc.getMap("songs") };
}

/** What a subdocument tells whoever opens it. */
const told = ({ guid, meta, autoLoad, shouldLoad, gc }) => ({ guid, meta, autoLoad, shouldLoad, gc });

/** Opens a subdocument as its provider does: as a document of its own. */
const open = (t, library, at, doc) => client(t, library, at, doc.guid, { doc });

const META = { title: "Ærøskøbing 🎸", tempo: 120, live: true, parts: ["intro", null, 2.5], of: { album: "first" } };

for (const library of Object.keys(clients)) {
  const named = (text) => `${library}: ${text}`;

  test(named("subdocuments are seen, opened, edited, kept and deleted"), async (t) => {
    const at = await relay(t);
    const [a, b] = [await reader(t, library, at), await reader(t, library, at)];
    const [loud, soft] = [new Y.Doc({ autoLoad: true, meta: META }), new Y.Doc({ guid: "soft.1", gc: false })];
    a.doc.transact(() => {
      a.songs.set("loud", loud);
      a.songs.set("soft", soft);
    });
    await until(() => b.songs.size === 2);
    assert.deepEqual(new Set(b.events.added), new Set([loud.guid, "soft.1"]));
    assert.deepEqual(b.events.loaded, [loud.guid]);
    const expected = [
      { guid: loud.guid, meta: META, autoLoad: true, shouldLoad: true, gc: true },
      { guid: "soft.1", meta: null, autoLoad: false, shouldLoad: false, gc: false },
    ];
    const seen = (of) => [of.songs.get("loud"), of.songs.get("soft")].map(told);
    assert.deepEqual(seen(b), expected);
    b.songs.get("soft").load();
    assert.deepEqual(b.events.loaded, [loud.guid, "soft.1"]);

    // Every one of them is a document like any other.
    const opened = [];
    for (const key of ["loud", "soft"]) {
      const [ours, theirs] = [a.songs.get(key), b.songs.get(key)];
      opened.push(await open(t, library, at, ours), await open(t, library, at, theirs));
      ours.getText("lyrics").insert(0, `${key} `);
      await until(() => theirs.getText("lyrics").toString() === `${key} `);
      theirs.getText("lyrics").insert(key.length + 1, "words");
      await until(() => ours.getText("lyrics").toString() === `${key} words`);
    }
    await until(async () => (await read(at, "soft.1", "text/lyrics")) === "soft words");
    assert.deepEqual(await read(at, "songs", "map/songs/loud"), {
      guid: loud.guid,
      options: { autoLoad: true, meta: META },
    });
    assert.deepEqual(await read(at, "songs", "map/songs/soft"), { guid: "soft.1", options: { gc: false } });

    // All who had it are gone: what comes back is what the relay kept.
    for (const one of [...opened, a, b]) end(one);
    await at.kill();
    await at.start();
    const c = await reader(t, library, at);
    assert.deepEqual(seen(c), expected);
    assert.deepEqual(c.events.loaded, [loud.guid]);
    for (const key of ["loud", "soft"]) {
      await open(t, library, at, c.songs.get(key));
      assert.equal(c.songs.get(key).getText("lyrics").toString(), `${key} words`);
    }

    // Deleted by a client, overwritten by an agent: both reach everybody.
    const d = await reader(t, library, at);
    c.songs.delete("loud");
    await until(() => d.songs.size === 1);
    // Yjs says so once more when it destroys it.
    assert.deepEqual(new Set(d.events.removed), new Set([loud.guid]));
    await until(async () => (await read(at, "songs", "map/songs/loud")) === undefined);
    await agent(at, "songs", "state", "set", "map/songs/soft", '"silence"');
    const e = await reader(t, library, at);
    for (const { songs, doc } of [c, d, e]) {
      await until(() => songs.get("soft") === "silence");
      assert.deepEqual([songs.toJSON(), doc.getSubdocs().size], [{ soft: "silence" }, 0]);
    }
  });
}

test("subdocuments lie in arrays and in nested types, and come back by undo", async (t) => {
  const at = await relay(t);
  const [a, b] = [await reader(t, "y-websocket 3", at), await reader(t, "y-websocket 3", at)];
  a.doc.getArray("list").insert(0, ["first", new Y.Doc({ guid: "one", meta: 1 }), "last"]);
  const album = new Y.Map();
  a.songs.set("album", album);
  album.set("song", new Y.Doc({ guid: "two", meta: { n: 2 } }));
  await until(() => b.songs.get("album")?.get("song")?.guid === "two");
  assert.deepEqual(b.doc.getArray("list").get(1).meta, 1);
  const undo = new Y.UndoManager(a.doc.getArray("list"));
  a.doc.getArray("list").delete(1);
  await until(() => b.doc.getArray("list").length === 2);
  undo.undo();
  await until(() => b.doc.getArray("list").length === 3);
  assert.deepEqual([b.doc.getArray("list").get(1).guid, b.doc.getArray("list").get(1).meta], ["one", 1]);
  assert.deepEqual(await read(at, "songs", "list/list"), ["first", { guid: "one", options: { meta: 1 } }, "last"]);
  assert.deepEqual(await read(at, "songs", "map/songs/album"), { song: { guid: "two", options: { meta: { n: 2 } } } });
  a.songs.delete("album");
  await until(() => b.songs.size === 0);
  assert.deepEqual([...b.doc.getSubdocs()].map(({ guid }) => guid), ["one"]);
});

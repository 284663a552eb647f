// The store in IndexedDB: the same answers as a model of it, all or nothing, and failures that are told.

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";

import { QuotaExceededError, StorageUnavailableError, StoreError } from "../dist/errors.js";
import { IndexedDbStore } from "../dist/indexeddb.js";

let names = 0;
const fresh = () => `store-${names++}`;
const bytes = (...of) => Uint8Array.from(of);

/** What `raw.ts` says of a store. */
class Model {
  documents = new Map();

  commit(tasks) {
    return tasks.map((task) => {
      const kept = this.documents.get(task.document);
      switch (task.kind) {
        case "list":
          return {
            kind: "listed",
            documents: [...this.documents]
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([document, { snapshot, log }]) => ({
                document,
                snapshotBytes: snapshot?.length ?? 0,
                entries: log.length,
                logBytes: log.reduce((sum, entry) => sum + entry.length, 0),
              })),
          };
        case "load": {
          if (!kept) return { kind: "loaded" };
          const { header, snapshot, upto, log } = kept;
          return {
            kind: "loaded",
            document: { header, entries: [...log], last: upto + log.length, ...(snapshot && { snapshot }) },
          };
        }
        case "append": {
          const grown = kept ?? { header: task.header, upto: 0, log: [], snapshot: undefined };
          grown.log.push(...task.entries);
          this.documents.set(task.document, grown);
          return { kind: "appended", last: grown.upto + grown.log.length };
        }
        case "compact": {
          if (!kept) return { kind: "missing", document: task.document };
          const upto = Math.min(task.upto, kept.upto + kept.log.length);
          if (upto >= kept.upto) {
            kept.log.splice(0, upto - kept.upto);
            kept.upto = upto;
            kept.snapshot = task.snapshot;
          }
          return { kind: "compacted" };
        }
      }
    });
  }
}

/** Numbers that are the same in every run. */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

test("the store answers as its model does, also after it was opened again", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const next = numbers(seed);
    const [name, model] = [fresh(), new Model()];
    let store = await IndexedDbStore.open(name);
    for (let round = 0; round < 30; round++) {
      const tasks = Array.from({ length: 1 + next(4) }, () => {
        const document = `band/${"abc"[next(3)]}`;
        const entry = () => Uint8Array.from({ length: next(5) }, () => next(256));
        switch (next(4)) {
          case 0:
            return { kind: "load", document };
          case 1:
            return { kind: "compact", document, upto: next(30), snapshot: entry() };
          case 2:
            return { kind: "list" };
          default:
            return { kind: "append", document, header: bytes(round), entries: Array.from({ length: next(4) }, entry) };
        }
      });
      assert.deepEqual(await store.commit(tasks), model.commit(tasks), `seed ${seed}, round ${round}`);
      if (next(10) === 0) {
        store.close();
        store = await IndexedDbStore.open(name);
      }
    }
    store.close();
  }
});

test("notes are kept under their names", async () => {
  const name = fresh();
  const store = await IndexedDbStore.open(name);
  assert.equal(await store.note("identity"), undefined);
  await store.setNote("identity", bytes(1));
  await store.setNote("identity", bytes(2));
  store.close();
  const again = await IndexedDbStore.open(name);
  assert.deepEqual(await again.note("identity"), bytes(2));
  assert.equal(await again.note("other"), undefined);
});

test("of a commit that fails nothing is kept, and every answer says so", async () => {
  const store = await IndexedDbStore.open(fresh());
  await store.commit([{ kind: "append", document: "band/a", header: bytes(1), entries: [bytes(1)] }]);
  const answers = await store.commit([
    { kind: "append", document: "band/a", header: bytes(1), entries: [bytes(2)] },
    { kind: "load", document: "band/a" },
    // A function cannot be kept.
    { kind: "append", document: "band/b", header: bytes(1), entries: [Object.assign(() => {}, { byteLength: 1 })] },
  ]);
  assert.deepEqual(
    answers.map(({ kind, during }) => [kind, during]),
    [
      ["failed", "write"],
      ["failed", "read"],
      ["failed", "write"],
    ],
  );
  const [kept, other] = await store.commit([
    { kind: "load", document: "band/a" },
    { kind: "load", document: "band/b" },
  ]);
  assert.deepEqual(kept.document.entries, [bytes(1)]);
  assert.deepEqual(other, { kind: "loaded" });
});

test("a full disk is told to whoever listens or waits, and is over when there is room", async (t) => {
  const store = await IndexedDbStore.open(fresh());
  const heard = [];
  store.onTrouble((code, reason) => heard.push([code, reason]));
  const full = t.mock.method(IDBObjectStore.prototype, "put", () => {
    throw new DOMException("no room", "QuotaExceededError");
  });
  const append = { kind: "append", document: "band/a", header: bytes(1), entries: [bytes(1)] };
  const waits = assert.rejects(store.unlessItFails(new Promise(() => {})), QuotaExceededError);
  const [answer] = await store.commit([append]);
  assert.deepEqual([answer.kind, answer.during], ["failed", "write"]);
  assert.match(answer.reason, /storage is full/);
  await waits;
  assert.deepEqual(heard, [["QuotaExceeded", answer.reason]]);
  assert.equal(store.trouble.code, "QuotaExceeded");
  await assert.rejects(store.setNote("identity", bytes(1)), QuotaExceededError);
  full.mock.restore();
  assert.deepEqual(await store.commit([append]), [{ kind: "appended", last: 1 }]);
  assert.equal(store.trouble, undefined);
});

test("a browser that gives no storage is told apart from a store that fails", async (t) => {
  t.mock.method(indexedDB, "open", () => {
    throw new DOMException("not here", "SecurityError");
  });
  await assert.rejects(IndexedDbStore.open(fresh()), StorageUnavailableError);
  t.mock.restoreAll();
  const name = fresh();
  await new Promise((opened) => (indexedDB.open(name, 99).onsuccess = ({ target }) => opened(target.result.close())));
  await assert.rejects(
    IndexedDbStore.open(name),
    (error) => error instanceof StoreError && /later version/.test(error.message),
  );
});

test("a store that is deleted under an agent takes nothing any more", async () => {
  const name = fresh();
  const store = await IndexedDbStore.open(name);
  const heard = [];
  store.onTrouble((code) => heard.push(code));
  await new Promise((done) => (indexedDB.deleteDatabase(name).onsuccess = done));
  assert.deepEqual(heard, ["StorageUnavailable"]);
  const [answer] = await store.commit([{ kind: "append", document: "band/a", header: bytes(1), entries: [] }]);
  assert.equal(answer.kind, "failed");
});

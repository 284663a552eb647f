/**
 * The browser's store: documents in IndexedDB, one transaction for each commit.
 *
 * Object stores of version 1: `heads` (one record for each document: its header and the numbers of its log),
 * `snapshots` by document, `entries` by document and number, `notes` by name.
 */

import { AepochError, QuotaExceededError, StorageUnavailableError, StoreError } from "./errors.js";
import type { RawDone, RawStore, RawTask } from "./raw.js";
import type { StorageCode } from "./report.js";

const VERSION = 1;
const STORES = ["heads", "snapshots", "entries"];

/** What is kept of a document beside its bytes. */
interface Head {
  document: string;
  header: Uint8Array;
  /** Number of the last entry that a snapshot has replaced. */
  upto: number;
  /** Number of the last entry ever appended. */
  last: number;
  /** Bytes of the entries after `upto`. */
  logBytes: number;
  snapshotBytes: number;
}

/** A store in IndexedDB. */
export class IndexedDbStore implements RawStore {
  readonly #db: IDBDatabase;
  /** Why it is of no use any more. */
  #gone: AepochError | undefined;
  /** What failed last, until something succeeds. */
  #trouble: AepochError | undefined;
  readonly #heard = new Set<(error: AepochError) => void>();

  private constructor(db: IDBDatabase) {
    this.#db = db;
    // Site data were cleared, or the disk failed: what is appended from here on would lack what came before.
    db.onclose = () => this.#lost("the browser has closed the store; its data may have been cleared");
    db.onversionchange = () => {
      db.close();
      this.#lost("the store is being deleted, or opened by a later version");
    };
  }

  /** Opens the store of a name, or makes it. */
  static open(name: string): Promise<IndexedDbStore> {
    return new Promise((resolve, reject) => {
      const unavailable = (cause: unknown): StorageUnavailableError =>
        new StorageUnavailableError("StorageUnavailable", `the browser gives no storage: ${said(cause)}`, { cause });
      let opening: IDBOpenDBRequest;
      try {
        opening = indexedDB.open(name, VERSION);
      } catch (cause) {
        return reject(unavailable(cause));
      }
      opening.onupgradeneeded = () => {
        const db = opening.result;
        db.createObjectStore("heads", { keyPath: "document" });
        for (const store of ["snapshots", "entries", "notes"]) db.createObjectStore(store);
      };
      opening.onsuccess = () => resolve(new IndexedDbStore(opening.result));
      opening.onerror = () => {
        const cause = opening.error;
        if (cause?.name === "VersionError")
          return reject(new StoreError("Store", "the store was written by a later version", { cause }));
        reject(cause?.name === "QuotaExceededError" ? errorOf(cause) : unavailable(cause));
      };
    });
  }

  /** One transaction: all writes are durable together or none is. */
  async commit(tasks: RawTask[]): Promise<RawDone[]> {
    const isRead = tasks.every((task) => task.kind === "load" || task.kind === "list");
    try {
      return await this.#transact(STORES, isRead ? "readonly" : "readwrite", async (tx) => {
        const answers: RawDone[] = [];
        for (const task of tasks) answers.push(await carryOut(tx, task));
        return answers;
      });
    } catch (thrown) {
      const reason = said(thrown);
      return tasks.map((task) => {
        const during = task.kind === "load" || task.kind === "list" ? "read" : "write";
        return { kind: "failed", during, reason };
      });
    }
  }

  /** The note under a name. */
  note(name: string): Promise<Uint8Array | undefined> {
    return this.#transact(["notes"], "readonly", (tx) =>
      answer<Uint8Array | undefined>(tx.objectStore("notes").get(name)),
    );
  }

  /** Keeps a note durably. */
  setNote(name: string, note: Uint8Array): Promise<void> {
    return this.#transact(["notes"], "readwrite", async (tx) => {
      await answer(tx.objectStore("notes").put(note, name));
    });
  }

  /** Resolves when the transaction is on the disk. */
  async #transact<T>(stores: string[], mode: IDBTransactionMode, act: (tx: IDBTransaction) => Promise<T>): Promise<T> {
    try {
      if (this.#gone) throw this.#gone;
      const tx = this.#db.transaction(stores, mode, { durability: "strict" });
      const done = new Promise<void>((resolve, reject) => {
        tx.oncomplete = () => resolve();
        tx.onabort = () => reject(tx.error ?? new Error("the transaction was aborted"));
      });
      done.catch(() => {});
      let result: T;
      try {
        result = await act(tx);
      } catch (thrown) {
        abort(tx);
        // Of an aborted transaction's requests each fails; why, the transaction says, unless it was aborted for this.
        await done.catch(() => {});
        throw tx.error ?? thrown;
      }
      await done;
      if (mode === "readwrite") this.#trouble = undefined;
      return result;
    } catch (thrown) {
      this.#trouble = this.#gone ?? errorOf(thrown);
      for (const heard of [...this.#heard]) heard(this.#trouble);
      throw this.#trouble;
    }
  }

  #lost(reason: string): void {
    this.#gone = this.#trouble = new StorageUnavailableError("StorageUnavailable", reason);
    for (const heard of [...this.#heard]) heard(this.#gone);
  }

  /** What failed last, when nothing has succeeded since. */
  get trouble(): AepochError | undefined {
    return this.#trouble;
  }

  /** Hears of every failure. */
  onTrouble(heard: (code: StorageCode, reason: string) => void): () => void {
    const told = (error: AepochError): void => heard(error.code as StorageCode, error.message);
    this.#heard.add(told);
    return () => this.#heard.delete(told);
  }

  /** Waits, unless the store fails meanwhile. */
  async unlessItFails<T>(wait: Promise<T>): Promise<T> {
    let failed: (error: AepochError) => void = () => {};
    const failure = new Promise<never>((_, reject) => this.#heard.add((failed = reject)));
    try {
      return await Promise.race([wait, failure]);
    } finally {
      this.#heard.delete(failed);
    }
  }

  /** Closes it, once the transactions under way are done. */
  close(): void {
    this.#db.close();
    this.#gone ??= new StorageUnavailableError("StorageUnavailable", "the store has been closed");
  }
}

async function carryOut(tx: IDBTransaction, task: RawTask): Promise<RawDone> {
  const heads = tx.objectStore("heads");
  if (task.kind === "list") {
    const all = await answer<Head[]>(heads.getAll());
    const documents = all.map(({ document, snapshotBytes, last, upto, logBytes }) => ({
      document,
      snapshotBytes,
      entries: last - upto,
      logBytes,
    }));
    return { kind: "listed", documents };
  }
  const { document } = task;
  const head = await answer<Head | undefined>(heads.get(document));
  const snapshots = tx.objectStore("snapshots");
  const entries = tx.objectStore("entries");
  switch (task.kind) {
    case "load": {
      if (!head) return { kind: "loaded" };
      const [snapshot, log] = await Promise.all([
        answer<Uint8Array | undefined>(snapshots.get(document)),
        answer<Uint8Array[]>(entries.getAll(numbered(document, head.upto + 1, Infinity))),
      ]);
      const { header, last } = head;
      return { kind: "loaded", document: { header, entries: log, last, ...(snapshot && { snapshot }) } };
    }
    case "append": {
      const { header } = task;
      const kept: Head = head ?? { document, header, upto: 0, last: 0, logBytes: 0, snapshotBytes: 0 };
      for (const entry of task.entries) {
        kept.logBytes += entry.byteLength;
        entries.put(entry, [document, ++kept.last]);
      }
      await answer(heads.put(kept));
      return { kind: "appended", last: kept.last };
    }
    case "compact": {
      if (!head) return { kind: "missing", document };
      const upto = Math.min(task.upto, head.last);
      if (upto < head.upto) return { kind: "compacted" };
      const rest = await answer<Uint8Array[]>(entries.getAll(numbered(document, upto + 1, Infinity)));
      entries.delete(numbered(document, 0, upto));
      snapshots.put(task.snapshot, document);
      head.upto = upto;
      head.logBytes = rest.reduce((bytes, entry) => bytes + entry.byteLength, 0);
      head.snapshotBytes = task.snapshot.byteLength;
      await answer(heads.put(head));
      return { kind: "compacted" };
    }
  }
}

const numbered = (document: string, from: number, to: number): IDBKeyRange =>
  IDBKeyRange.bound([document, from], [document, to]);

/** The result of a request. */
function answer<T>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => reject(request.error ?? new Error("the request failed"));
  });
}

function abort(tx: IDBTransaction): void {
  try {
    tx.abort();
  } catch {
    // It was aborted already.
  }
}

function errorOf(cause: unknown): AepochError {
  if (cause instanceof AepochError) return cause;
  const isFull = typeof cause === "object" && cause !== null && "name" in cause && cause.name === "QuotaExceededError";
  if (isFull)
    return new QuotaExceededError("QuotaExceeded", `the browser's storage is full: ${said(cause)}`, { cause });
  return new StoreError("Store", `the browser's storage failed: ${said(cause)}`, { cause });
}

const said = (cause: unknown): string =>
  cause instanceof Error || cause instanceof DOMException ? cause.message || cause.name : String(cause);

let asked: Promise<boolean> | undefined;

/** Asks the browser, once, not to empty its storage when the disk runs full. False when it may. */
export function askToPersist(): Promise<boolean> {
  return (asked ??= (async () => {
    const storage = (globalThis.navigator as Navigator | undefined)?.storage;
    if (!storage?.persist) return false;
    return (await storage.persisted()) || storage.persist();
  })().catch(() => false));
}

/** A document this tab has open: its state as signals, read again when something has changed. */

import type { AgentEvent, Candidate, Document, DocumentStatus, ItemView, ObjectStatus, Patch, PresenceEntry, Queue, QueueStatus, Value } from "aepoch";
import { batch, signal } from "@preact/signals";
import { report } from "./feed.js";
import { History } from "./history.js";
import { every, paced } from "./pace.js";
import type { EngineName, Session } from "./session.js";
import { Timeline } from "./timeline.js";
import { Undo } from "./undo.js";

/** All a document holds, by section and name. */
export type Tree = Readonly<Record<string, Readonly<Record<string, Value>>>>;

/** A queue, as seen here. */
export interface QueueSeen {
  name: string;
  status: QueueStatus;
  items: ItemView[];
}

/** A change that was seen while the document was open. */
export interface Seen {
  number: number;
  at: number;
  patch: Patch;
}

const PATCHES_KEPT = 400;
const GONE_KEPT = 500;
let next = 1;

export class OpenDocument {
  readonly name: string;
  readonly engine: EngineName;
  readonly document: Document;
  readonly tree = signal<Tree>({});
  readonly objects = signal<readonly ObjectStatus[]>([]);
  /** Objects that are gone, as they stood last: what is finished frees what it takes. Newest first. */
  readonly gone = signal<readonly ObjectStatus[]>([]);
  readonly queues = signal<readonly QueueSeen[]>([]);
  readonly presence = signal<readonly PresenceEntry<Value>[]>([]);
  readonly status = signal<DocumentStatus | undefined>(undefined);
  /** Registers whose value several agents wrote at the same time, with all of the values. */
  readonly conflicts = signal<ReadonlyMap<string, readonly Candidate<Value>[]>>(new Map());
  /** Who wrote last, by path, of what changed while this was open, and of registers from the start. */
  readonly authors = signal<ReadonlyMap<string, string>>(new Map());
  readonly seen = signal<readonly Seen[]>([]);
  readonly timeline = new Timeline();
  readonly undo: Undo;
  /** Where the engine keeps it. */
  readonly history: History | undefined;
  readonly #handles = new Map<string, Queue<Value>>();
  readonly #leaving: (() => void)[] = [];
  readonly #readTree: () => void;
  readonly #readObjects: () => void;
  readonly #readPresence: () => void;
  #isClosed = false;

  constructor(document: Document, engine: EngineName, session: Session) {
    this.name = document.name;
    this.engine = engine;
    this.document = document;
    this.undo = new Undo(document);
    this.history = engine === "automerge" ? new History(`${session.swarm}/${document.name}`) : undefined;
    const guarded = (ms: number, work: () => Promise<void>): (() => void) =>
      paced(ms, async () => {
        try {
          if (!this.#isClosed) await work();
        } catch (thrown) {
          if (!this.#isClosed) report("document", thrown);
        }
      });
    this.#readTree = guarded(120, () => this.#lookAtTree());
    this.#readObjects = guarded(150, () => this.#lookAtObjects());
    this.#readPresence = guarded(250, async () => void (this.presence.value = await document.presence()));
    const begun = Date.now();
    const changes = document.observe("", ({ patches, missed }) => {
      const now = Date.now();
      session.hearWriters(patches, begun);
      if (missed || patches.some(({ path }) => path.section !== "coordination")) {
        this.#readTree();
        this.history?.count();
      }
      this.#readObjects();
      this.#remember(patches, now);
    });
    this.#leaving.push(
      () => changes.stop(),
      // Timers run out without a change.
      every(1_000, () => {
        this.#readObjects();
        // Some may have come before this was open.
        this.#readPresence();
        this.#readStatus();
      }),
    );
    this.#readTree();
    this.#readPresence();
    this.history?.count();
  }

  hear(event: AgentEvent): void {
    if (event.kind === "coordination") this.#readObjects();
    if (event.kind === "presence") this.#readPresence();
    if (event.kind === "acked") {
      this.#readStatus();
      this.history?.count();
    }
    if (event.kind === "missed") {
      this.#readTree();
      this.#readObjects();
      this.#readPresence();
    }
  }

  #remember(patches: readonly Patch[], at: number): void {
    const content = patches.filter(({ path }) => path.section !== "coordination");
    if (content.length === 0) return;
    const authors = new Map(this.authors.value);
    const fresh = content.slice(-PATCHES_KEPT).map((patch) => ({ number: next++, at, patch }));
    for (const { path, writer } of content) {
      if (writer === null) continue;
      authors.set(pathOf(path.section, path.name, path.section === "map" ? path.within : null), String(writer));
    }
    batch(() => {
      this.authors.value = authors;
      this.seen.value = [...fresh.reverse(), ...this.seen.value].slice(0, PATCHES_KEPT);
    });
  }

  async #lookAtTree(): Promise<void> {
    const tree = ((await this.document.tree()) ?? {}) as Tree;
    const registers = Object.keys(tree["register"] ?? {});
    const conflicts = new Map<string, readonly Candidate<Value>[]>();
    const authors = new Map(this.authors.value);
    for (const name of registers) {
      const values = await this.document.register(name).values();
      if (values.length > 1) conflicts.set(name, values);
      const newest = values.reduce<Candidate<Value> | undefined>((a, b) => (!a || b.at > a.at ? b : a), undefined);
      if (newest) authors.set(pathOf("register", name), String(newest.writer));
    }
    batch(() => {
      this.tree.value = tree;
      this.conflicts.value = conflicts;
      this.authors.value = authors;
    });
  }

  async #lookAtObjects(): Promise<void> {
    const objects = await this.document.explain();
    const queues: QueueSeen[] = [];
    for (const { kind, barrier } of objects) {
      if (kind !== "queue") continue;
      let handle = this.#handles.get(barrier.name);
      if (!handle) {
        handle = await this.document.queue(barrier.name, {}, { signal: AbortSignal.timeout(5_000) });
        this.#handles.set(barrier.name, handle);
      }
      const [status, items] = await Promise.all([handle.queueStatus(), handle.items()]);
      queues.push({ name: barrier.name, status, items });
    }
    this.timeline.see(objects, Date.now());
    const present = new Set(objects.map(({ object }) => object));
    const left = this.objects.value.filter(({ object }) => !present.has(object));
    batch(() => {
      this.objects.value = objects;
      if (left.length > 0) this.gone.value = [...left, ...this.gone.value].slice(0, GONE_KEPT);
      this.queues.value = queues;
    });
  }

  #readStatus(): void {
    void this.document.status().then((status) => (this.status.value = status), () => {});
  }

  queue(name: string): Queue<Value> | undefined {
    return this.#handles.get(name);
  }

  close(): void {
    this.#isClosed = true;
    for (const leave of this.#leaving) leave();
    for (const handle of this.#handles.values()) handle.close();
    this.document.close();
  }
}

export function pathOf(section: string, name: string, within: string | number | null = null): string {
  return within === null ? `${section}/${name}` : `${section}/${name}/${within}`;
}

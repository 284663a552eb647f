/** The past of a document's content, as the relay tells it; automerge alone keeps one. */

import { signal } from "@preact/signals";
import { report } from "./feed.js";
import type { Tree } from "./open-document.js";
import { paced } from "./pace.js";
import { rest, type Change } from "./rest.js";

/** The content as it was. */
export interface Past {
  /** After so many changes. */
  after: number;
  /** The last of them; none before the first. */
  change: Change | undefined;
  tree: Tree;
}

export class History {
  /** So many changes the relay has. */
  readonly changes = signal(0);
  /** The change that is asked for; none: what is now. */
  readonly wanted = signal<number | undefined>(undefined);
  readonly past = signal<Past | undefined>(undefined);
  /** Counts anew. */
  readonly count: () => void;
  readonly #read: () => void;

  /** `document` with the name of its swarm. */
  constructor(document: string) {
    const reported = (work: () => Promise<void>) => async (): Promise<void> => {
      try {
        await work();
      } catch (thrown) {
        report("history", thrown);
      }
    };
    this.count = paced(1_000, reported(async () => {
      // The relay reads its store: what was just written may be counted a moment later.
      this.changes.value = (await rest.history(document, { from: this.changes.value + 1 })).changes;
    }));
    this.#read = paced(80, reported(async () => {
      const after = this.wanted.value;
      if (after === undefined) return void (this.past.value = undefined);
      const { changes, listed, value } = await rest.history(document, { at: after });
      this.changes.value = changes;
      // Or it has been asked for another one meanwhile, which is read next.
      if (this.wanted.value === after) this.past.value = { after, change: listed[0], tree: value ?? {} };
    }));
  }

  /** Shows the content after so many changes, or as it is now. */
  go(after: number | undefined): void {
    this.wanted.value = after;
    if (after === undefined) this.past.value = undefined;
    else this.#read();
  }
}

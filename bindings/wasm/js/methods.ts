/** What has to be known of the module's methods by whoever calls them from another thread, another tab or another life. */

import type {
  RawAgent,
  RawBarrier,
  RawClaim,
  RawDecision,
  RawDocument,
  RawEpoch,
  RawHearing,
  RawPoll,
  RawQueue,
} from "./raw.js";
import type { WorkerRoot } from "./worker-place.js";

type Method =
  | keyof WorkerRoot
  | keyof RawAgent
  | keyof RawDocument
  | keyof RawBarrier
  | keyof RawEpoch
  | keyof RawPoll
  | keyof RawDecision
  | keyof RawQueue
  | keyof RawClaim
  | keyof RawHearing;

/** A method, as far as it differs from one that reads. */
interface Traits {
  /** It answers with an object. */
  opens?: true;
  /** Its object is no more afterwards. */
  ends?: true;
  /** It cannot be done twice without doing more: it fails when it is not known whether it was done. */
  once?: true;
  /** It changes a document or the agent's state. */
  writes?: true;
  /** It waits, until the argument at this place is settled. */
  waits?: number;
}

const METHODS: Readonly<Partial<Record<Method, Traits>>> = {
  open: { opens: true },
  document: { opens: true },
  swarm: { opens: true },
  events: { opens: true },
  observe: { opens: true },
  barrier: { opens: true },
  epoch: { opens: true },
  poll: { opens: true },
  decision: { opens: true },
  queue: { opens: true },
  claim: { opens: true, waits: 1 },

  stop: { ends: true },
  free: { ends: true },

  setState: { writes: true },
  clearState: { writes: true },
  registerSet: { writes: true },
  registerClear: { writes: true },
  counterAdd: { writes: true, once: true },
  mapPut: { writes: true },
  mapRemove: { writes: true },
  setInsert: { writes: true },
  setRemove: { writes: true },
  listInsert: { writes: true, once: true },
  listPush: { writes: true, once: true },
  listRemove: { writes: true, once: true },
  textInsert: { writes: true, once: true },
  textRemove: { writes: true, once: true },
  textFormat: { writes: true },
  transact: { writes: true, once: true },

  send: { once: true },
  push: { once: true },
  arriveNow: { once: true },
  decline: { once: true },
  acknowledge: { once: true },
  finishNow: { once: true },
  vote: { once: true },
  propose: { once: true },
  abstain: { once: true },
  complete: { once: true },
  fail: { once: true },
  requeue: { once: true },

  flush: { waits: 0 },
  persisted: { waits: 0 },
  released: { waits: 1 },
  over: { waits: 1 },
  decided: { waits: 0 },
};

const PLAIN: Traits = {};

/** What is to be known of a method, by its name. */
export function traitsOf(method: PropertyKey): Traits {
  return Object.hasOwn(METHODS, method) ? (METHODS[method as Method] ?? PLAIN) : PLAIN;
}

/** What the module reports: statuses, events, changes. */

import type { Value } from "./json.js";

/** A tier's number: 0 is alpha. */
export type TierNumber = number;

/** What a relay's connection is doing. */
export type RelayState = "dialing" | "up" | "waiting" | "open" | "paused";

/** A relay this agent was told to connect to. */
export interface RelayStatus {
  address: string;
  state: RelayState;
  /** Failed dials in a row. */
  failures: number;
  /** Connections in a row that it closed for good, as it does when it admits us no longer; trying goes on. */
  turned_away: number;
  /** Why the last connection or dial ended. */
  reason: string | null;
}

/** How an agent stands. */
export interface AgentStatus {
  /** At least one connection is ready. */
  online: boolean;
  /** The agents and relays at the other ends. */
  peers: string[];
  relays: RelayStatus[];
  /** Local commits not yet durable where they should be: at a relay when one was named, else in the store. */
  unsynced: number;
  /** When the last acknowledgement came, in milliseconds since 1970. */
  last_ack_ms: number | null;
  /** Why something is unsynced, in one sentence. */
  stalled: string | null;
  bytes_in: number;
  bytes_out: number;
}

/** How a document stands. */
export interface DocumentStatus {
  document: string;
  engine: "yrs" | "automerge";
  /** It is in memory and at rest. */
  ready: boolean;
  /** Connections that take part in it. */
  links: number;
  /** Connections that wait to drain before they get more. */
  behind: number;
  /** Local commits not yet durable where they should be. */
  unsynced: number;
  /** Why they are not, or why the document is not here. */
  stalled: string | null;
  log_entries: number;
  /** Estimate of its encoded size, in bytes. */
  weight: number;
  /** Ephemeral states present. */
  presence: number;
}

/** Where a change happened. */
export interface Path {
  section: "map" | "list" | "text" | "register" | "counter" | "agent" | "member" | "coordination";
  /** Container, register, counter or agent. */
  name: string;
  /** Key or position within it. */
  within: string | number | null;
}

/** How a value changed. */
export type Change =
  | { put: { old: Value; new: Value } }
  /** A run starting at the path's position was replaced; a text inserts one string. */
  | { splice: { removed: number; inserted: Value[] } }
  | { format: { len: number } };

/** One change of a document. */
export interface Patch {
  path: Path;
  change: Change;
  /** Who wrote it, by the number it writes under, where known. */
  writer: number | null;
  origin: "local" | "remote";
}

/** Changes that came together. `missed`: there were others before them that were not heard; read the state anew. */
export interface Changes {
  patches: Patch[];
  missed: boolean;
}

/** A value of a register, one of several when agents wrote at the same time. */
export interface Candidate<T> {
  /** The number its writer writes under. */
  writer: number;
  /** When, by the writer's clock, in milliseconds since 1970. */
  at: number;
  version: number;
  /** Null when it was cleared. */
  value: T | null;
  cleared: boolean;
}

/** A run of text with the same formatting. */
export interface TextSpan {
  text: string;
  attributes: Record<string, Value>;
}

/** One agent's ephemeral state in a document. */
export interface PresenceEntry<T> {
  replica: number;
  agent: string;
  /** Grows with every change. */
  clock: number;
  state: T;
}

/** An agent of a swarm. */
export interface Member {
  replica: number;
  member: {
    agent: string;
    /** Which life of the agent this is. */
    incarnation: number;
    role: string;
    /** When it joined by its own clock, in milliseconds since 1970. */
    joined_ms: number;
    addresses: string[];
  };
}

/** Something an application may want to know. */
export type AgentEvent =
  /** More of our own writes became durable. */
  | { kind: "acked"; document: string }
  | { kind: "linkUp"; agent: string }
  | { kind: "linkDown"; agent: string; reason: string }
  | { kind: "presence"; document: string }
  /** A message of an application, and its bytes. */
  | { kind: "message"; from: string; to: Recipient; body: Uint8Array }
  /** A peer refused something of ours. */
  | { kind: "refused"; document: string | null; code: string; reason: string }
  /** A document is being rebuilt from the store without a peer's bytes. */
  | { kind: "quarantined"; document: string; reason: string }
  /** The store failed; what it was given is kept in memory and tried again. */
  | { kind: "storeFailed"; document: string; reason: string }
  /** The credential ends soon: call `agent.renew`. */
  | { kind: "renewalAsked" }
  | { kind: "coordination"; document: string; object: string }
  /** Events were missed: read the state anew. */
  | { kind: "missed"; count: number }
  /** The browser's storage failed. What was given to it is kept in memory and tried again. */
  | { kind: "storage"; code: StorageCode; reason: string };

/** What may be wrong with the browser's storage. */
export type StorageCode = "QuotaExceeded" | "StorageUnavailable" | "Store";

/** Whom a message is for. */
export type Recipient = { agent: string } | { document: string } | "all";

/** One tier of an outcome. */
export interface TierResult {
  tier: TierNumber;
  ending: "complete" | "degraded" | "shortfall" | "broken";
  /** Who took part. */
  released: string[];
  /** Who did not. */
  missing: string[];
}

/** What was decided of a generation: the same for every agent of a tier. */
export interface Outcome {
  generation: number;
  /** Highest first. */
  tiers: TierResult[];
}

/** Where an agent stands in a generation. */
export type Standing =
  | { standing: "waiting" | "closed" }
  | { standing: "overdue"; missing: string[] }
  | ({ standing: "released" | "late" | "broken" } & Outcome)
  | { standing: "superseded"; newest: number };

/** One thing that keeps a tier, in the terms of `docs/glossary.md`. */
export type Blocker = { blocker: string } & { [field: string]: Value };

/** How an object stands, and why. */
export interface ObjectStatus {
  object: string;
  kind: "barrier" | "epoch" | "poll" | "decision" | "queue";
  phase: string | null;
  poll: "approved" | "failed" | "pending" | null;
  approved: string | null;
  settled: boolean;
  standing: Standing;
  age_ms: number;
  first_arrival_ms: number | null;
  barrier: {
    id: string;
    name: string;
    generation: number;
    tolerate: number;
    tiers: {
      tier: TierNumber;
      outcome: TierResult["ending"] | null;
      members: string[];
      arrived: string[];
      declined: string[];
      released: string[];
      expired: boolean;
      timed_out: string[];
      blockers: Blocker[];
    }[];
  };
  /** What keeps it, in plain sentences. */
  why: string[];
}

/** One item of a queue. */
export interface ItemView {
  item: string;
  tier: TierNumber;
  deadline_ms: number | null;
  /** The agent that pushed it. */
  pusher: string | null;
  /** Nothing can come before it any more but what is here. */
  sealed: boolean;
  occupation:
    | { occupation: "open" }
    | { occupation: "held" | "expired"; holder: string; token: number }
    | { occupation: "dead"; token: number };
  attempts: number;
  /** Why the last holder gave it back. */
  failure: string | null;
}

/** How a queue stands. */
export interface QueueStatus {
  open: number;
  held: number;
  dead: number;
  /** Claims of this agent that wait. */
  waiting: number;
  sealed_below: number;
  unsealed_by: string[];
}

/** What happened at barriers and their kin, as this tab saw it: arrivals, decisions, who came late. */

import type { ObjectStatus } from "aepoch";
import { signal } from "@preact/signals";

/** `over`: a generation ended between two looks, so how is not known here. */
export type MarkKind = "arrived" | "declined" | "complete" | "degraded" | "shortfall" | "broken" | "over" | "late";

export interface Mark {
  at: number;
  kind: MarkKind;
  tier: number;
  generation: number;
  /** It had happened when this tab first looked. */
  isEarlier: boolean;
  /** Who arrived, declined or came late; who was left out of a decision. */
  agents: string[];
}

/** One object over time. */
export interface Lane {
  object: string;
  name: string;
  kind: ObjectStatus["kind"];
  /** When it was first seen. */
  from: number;
  /** When it was gone or settled. */
  until: number | undefined;
  marks: Mark[];
}

const MARKS_KEPT = 2_000;

interface TierSeen {
  arrived: Set<string>;
  declined: Set<string>;
  outcome: string | null;
}

export class Timeline {
  readonly lanes = signal<readonly Lane[]>([]);
  readonly #lanes = new Map<string, Lane>();
  /** By object, generation and tier. */
  readonly #tiers = new Map<string, TierSeen>();
  readonly #generations = new Map<string, number>();

  #isFirstLook = true;

  see(objects: readonly ObjectStatus[], now: number): void {
    const present = new Set<string>();
    let changed = false;
    for (const status of objects) {
      present.add(status.object);
      changed = this.#seeObject(status, now) || changed;
    }
    for (const lane of this.#lanes.values()) {
      if (lane.until === undefined && !present.has(lane.object)) {
        lane.until = now;
        changed = true;
      }
    }
    if (objects.length > 0) this.#isFirstLook = false;
    if (changed) this.lanes.value = [...this.#lanes.values()];
  }

  #seeObject({ object, kind, age_ms, first_arrival_ms, barrier, settled }: ObjectStatus, now: number): boolean {
    let lane = this.#lanes.get(object);
    let changed = false;
    const isNew = !lane;
    if (!lane) {
      lane = { object, name: barrier.name, kind, from: Math.min(now - age_ms, first_arrival_ms ?? now), until: undefined, marks: [] };
      this.#lanes.set(object, lane);
      changed = true;
    }
    const { generation } = barrier;
    const before = this.#generations.get(object);
    if (before !== generation) {
      if (before !== undefined) this.#passed(lane, before, barrier.tiers.map(({ tier }) => tier), now);
      this.#generations.set(object, generation);
    }
    for (const { tier, arrived, declined, outcome, released, members } of barrier.tiers) {
      const key = `${object}/${generation}/${tier}`;
      const seen = this.#tiers.get(key) ?? { arrived: new Set(), declined: new Set(), outcome: null };
      this.#tiers.set(key, seen);
      const mark = (kind: MarkKind, agents: string[], at = now): void => {
        if (agents.length === 0 && (kind === "arrived" || kind === "declined" || kind === "late")) return;
        lane.marks.push({ at, kind, tier, generation, isEarlier: this.#isFirstLook, agents });
        changed = true;
      };
      const come = arrived.filter((agent) => !seen.arrived.has(agent));
      const wasDecided = seen.outcome !== null;
      // Before this tab looked: the first arrival is known, the others came between then and now.
      mark(wasDecided ? "late" : "arrived", come, isNew && first_arrival_ms !== null ? first_arrival_ms : now);
      mark("declined", declined.filter((agent) => !seen.declined.has(agent)));
      if (outcome !== null && !wasDecided) mark(outcome, members.filter((agent) => !released.includes(agent)));
      for (const agent of come) seen.arrived.add(agent);
      for (const agent of declined) seen.declined.add(agent);
      seen.outcome = outcome;
    }
    if (settled && lane.until === undefined) {
      lane.until = now;
      changed = true;
    }
    if (lane.marks.length > MARKS_KEPT) lane.marks.splice(0, lane.marks.length - MARKS_KEPT);
    return changed;
  }

  #passed(lane: Lane, generation: number, tiers: number[], now: number): void {
    for (const tier of tiers) {
      const key = `${lane.object}/${generation}/${tier}`;
      const seen = this.#tiers.get(key);
      this.#tiers.delete(key);
      if (seen && seen.outcome === null) lane.marks.push({ at: now, kind: "over", tier, generation, isEarlier: false, agents: [] });
    }
  }
}

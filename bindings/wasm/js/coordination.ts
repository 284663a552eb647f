/** What agents wait for together: barriers, epochs, polls, decisions. */

import { abortable, throwIfAborted, type Waiting } from "./abort.js";
import { decode, decodeIf, encode } from "./json.js";
import type { Json, RawBarrier, RawDecision, RawEpoch, RawObject, RawPoll, RawSettings } from "./raw.js";
import type { Handle } from "./recovery.js";
import type { ObjectStatus, Outcome, Standing } from "./report.js";

/** A tier by name or number; alpha is 0, released and trusted before all others. */
export type Tier = "alpha" | "beta" | "gamma" | number;

/** Something for each tier. */
export type ByTier<T> = { alpha?: T; beta?: T; gamma?: T } & { [tier: number]: T };

/** Who decides, and who begins. */
export interface DecidingSettings {
  /** Agents that decide in place of the members. */
  electors?: readonly string[];
  /** The relay decides; while it is away nothing is decided. */
  relayElects?: boolean;
  /** How many of those who decide may be unreachable; at most a minority. Unless set: 0, nobody is ever left out. */
  tolerate?: number | "minority";
  /** Most agents it may have; 10 unless set. */
  atMost?: number;
  /** Begin it here, whoever is listed first. */
  begin?: boolean;
}

/** Who takes part, and how long is waited for them. */
export interface TieredSettings extends DecidingSettings {
  /** Members, as alphas or by tier, in the order of their seats. They must be known to the swarm before it begins. */
  members?: readonly string[] | ByTier<readonly string[]>;
  /** All who are in the swarm when it begins, as alphas: who begins it is connected, and asks peers first who there is. */
  everybody?: boolean;
  /** Milliseconds a tier is waited for before somebody may be left out: 15,000 for alphas, 30,000 for others. */
  timeout?: number | ByTier<number>;
  /** Fewest members of a tier that must take part; 1 unless set. */
  atLeast?: ByTier<number>;
  /** What happens when fewer do; `proceed` unless set. */
  onShortfall?: "wait" | "proceed" | "break";
}

/** Settings of a barrier. */
export interface BarrierSettings extends TieredSettings {
  /** It goes on, generation after generation. */
  cyclic?: boolean;
  /** A release waits until what the released had written before is here. On unless set. */
  fence?: boolean;
  /** What lower tiers wait for: that higher ones are decided, or that they have acknowledged. */
  gate?: "decided" | "acked";
}

/** Settings of an epoch. */
export interface EpochSettings extends TieredSettings {
  /** The names of its phases, in order. */
  phases?: readonly string[];
  /** Milliseconds a phase is waited for before laggards may be left out; 60,000 unless set. */
  window?: number;
}

/** Settings of a poll. */
export interface PollSettings extends TieredSettings {
  /** What is voted for. */
  options?: readonly string[];
  /** The weights of members' votes; 1 unless set. */
  weights?: Readonly<Record<string, number>>;
  /** The weight that approves; more than half of all unless set. */
  threshold?: number;
  /** Close it when its time is up: whoever is left out abstains. */
  closable?: boolean;
}

/** Settings of a decision. */
export type DecisionSettings = TieredSettings;

const TIERS: Record<string, number> = { alpha: 0, beta: 1, gamma: 2 };

/** The number of a tier. */
export function tierNumber(tier: Tier | string): number {
  return TIERS[tier] ?? Number(tier);
}

function byTier<T>(of: ByTier<T> | undefined): [number, T][] {
  return Object.entries(of ?? {}).map(([tier, value]) => [tierNumber(tier), value as T]);
}

function isList<T>(value: readonly T[] | object): value is readonly T[] {
  return Array.isArray(value);
}

/** What is given, without what is not. */
function given<T extends object>(settings: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** @internal */
export function decidingSettings(settings: DecidingSettings): RawSettings {
  const { electors, relayElects, tolerate, atMost, begin } = settings;
  return given({ electors: electors && [...electors], relayElects, tolerate, atMost, begin }) as RawSettings;
}

function tieredSettings(settings: TieredSettings): RawSettings {
  const { members = [], everybody, timeout, atLeast, onShortfall } = settings;
  const seats: [number, string][] = isList(members)
    ? members.map((agent) => [0, agent])
    : byTier(members).flatMap(([tier, agents]) => agents.map((agent): [number, string] => [tier, agent]));
  const tiers = new Set(seats.map(([tier]) => tier));
  if (everybody) tiers.add(0);
  const timeouts =
    typeof timeout === "number" ? [...tiers].map((tier): [number, number] => [tier, timeout]) : byTier(timeout);
  const tiered = given({ everybody, onShortfall }) as RawSettings;
  return { ...decidingSettings(settings), ...tiered, members: seats, timeouts, atLeast: byTier(atLeast) };
}

/** @internal */
export function barrierSettings(settings: BarrierSettings): RawSettings {
  const { cyclic, fence, gate } = settings;
  return { ...tieredSettings(settings), ...(given({ cyclic, fence, gate }) as RawSettings) };
}

/** @internal */
export function epochSettings(settings: EpochSettings): RawSettings {
  const { phases, window } = settings;
  return { ...tieredSettings(settings), ...(given({ phases: phases && [...phases], window }) as RawSettings) };
}

/** @internal */
export function pollSettings(settings: PollSettings): RawSettings {
  const { options, weights, threshold, closable } = settings;
  const own = given({
    options: options && [...options],
    weights: weights && Object.entries(weights),
    threshold,
    closable,
  });
  return { ...tieredSettings(settings), ...(own as RawSettings) };
}

/** @internal */
export const decisionSettings = (settings: DecisionSettings): RawSettings => tieredSettings(settings);

/** What every object has. */
export class CoordinationObject<R extends RawObject> {
  /** Its name in the document. */
  readonly name: string;
  /** @internal */
  protected readonly handle: Handle<R>;

  /** @internal */
  constructor(handle: Handle<R>, name: string) {
    this.handle = handle;
    this.name = name;
  }

  /** Which object of the document it is. */
  id(): Promise<string> {
    return this.object.call("id");
  }

  /** How it stands and what would unblock it. */
  async status(): Promise<ObjectStatus> {
    return decode(await this.object.call("status"));
  }

  /** Finishes it for everybody, decided or not, and frees what it takes. */
  cleanUp(): Promise<void> {
    return this.object.call("cleanUp");
  }

  /** Lets go of this handle; the object stays. */
  close(): void {
    this.handle.close();
  }

  /** {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  private get object(): Handle<RawObject> {
    return this.handle as unknown as Handle<RawObject>;
  }
}

/** How a wait at a barrier or an epoch ended. */
export class Passage {
  /** Which generation, from 0. */
  readonly generation: number;
  /** Where this agent stands: the same at every agent of its tier, unless `overdue`. */
  readonly standing: Standing;

  /** @internal */
  constructor(text: Json) {
    const passage = decode<{ generation: number; standing: Standing }>(text);
    this.generation = passage.generation;
    this.standing = passage.standing;
  }

  /** What was decided, when it was. */
  get outcome(): Outcome | undefined {
    const { standing } = this;
    return standing.standing === "released" || standing.standing === "late" || standing.standing === "broken"
      ? standing
      : undefined;
  }

  /** True when this agent may go on. */
  get isReleased(): boolean {
    return this.standing.standing === "released";
  }

  /** True when it may go on and nobody is missing. */
  get isComplete(): boolean {
    return this.isReleased && !!this.outcome?.tiers.every((tier) => tier.ending === "complete");
  }
}

/**
 * A barrier.
 *
 * Whatever any two agents are told of a generation is the same. Who is released is released with everybody that arrived
 * in time, and sees what they wrote before. Under partition a side without `n - tolerate` of those who decide leaves
 * nobody out; with `tolerate` 0 nobody is left out ever, and it blocks until all have come.
 */
export class Barrier extends CoordinationObject<RawBarrier> {
  /** Arrives and waits for the release. An arrival is not taken back when the wait is ended by its signal. */
  async arrive(waiting?: Waiting): Promise<Passage> {
    throwIfAborted(waiting);
    return this.released(await this.arriveNow(), waiting);
  }

  /** Arrives, to wait later with {@link released}: the generation arrived in. */
  arriveNow(): Promise<number> {
    return this.handle.call("arriveNow");
  }

  /** Waits for the end of the generation arrived in. With `tolerate` 0 it also ends with `overdue`; wait again then. */
  async released(generation: number, waiting?: Waiting): Promise<Passage> {
    return new Passage(await abortable(waiting, (abort) => this.handle.call("released", generation, abort)));
  }

  /** Says that this agent will not come. Never taken back in this generation. */
  decline(): Promise<void> {
    return this.handle.call("decline");
  }

  /** Says that this agent has acted on its release: what lower tiers wait for with the gate `acked`. */
  acknowledge(): Promise<void> {
    return this.handle.call("acknowledge");
  }
}

/**
 * An epoch: the members go through its phases together, and begin anew after the last. A phase is over when every member
 * has finished it or was left out by decision.
 */
export class Epoch extends CoordinationObject<RawEpoch> {
  /** Finishes a phase and waits until it is over. Fails with `WrongPhaseError` when it is another one's turn. */
  async finish(phase: string, waiting?: Waiting): Promise<Passage> {
    throwIfAborted(waiting);
    return this.over(await this.finishNow(phase), waiting);
  }

  /** Finishes a phase, to wait later with {@link over}: the generation it is. */
  finishNow(phase: string): Promise<number> {
    return this.handle.call("finishNow", phase);
  }

  /** Waits until a phase that this agent has finished is over. */
  async over(generation: number, waiting?: Waiting): Promise<Passage> {
    return new Passage(await abortable(waiting, (abort) => this.handle.call("over", generation, abort)));
  }

  /** The phase that is not known here to be over, by name. */
  phase(): Promise<string | undefined> {
    return this.handle.call("phase");
  }

  /** Members not known to have finished it. */
  laggards(): Promise<string[]> {
    return this.handle.call("laggards");
  }
}

/** A poll. At most one option is ever approved, and what is approved stays so. */
export class Poll extends CoordinationObject<RawPoll> {
  /** Votes. Never taken back. */
  vote(option: string): Promise<void> {
    return this.handle.call("vote", option);
  }

  /** Waits for the end: the approved option, or `undefined` when none can be approved any more. */
  decided(waiting?: Waiting): Promise<string | undefined> {
    return abortable(waiting, (abort) => this.handle.call("decided", abort));
  }
}

/** A decision: whatever anybody is told to be decided is the same value, one that a member proposed. */
export class Decision<T> extends CoordinationObject<RawDecision> {
  /** Proposes a value. Once: a second proposal of this agent is refused. */
  async propose(value: T): Promise<void> {
    await this.handle.call("propose", encode(value));
  }

  /** Says that this agent proposes nothing, so that nobody waits for it. */
  abstain(): Promise<void> {
    return this.handle.call("abstain");
  }

  /** Waits for what is decided: `undefined` when nobody has proposed anything. */
  async decided(waiting?: Waiting): Promise<T | undefined> {
    return decodeIf<T>(await abortable(waiting, (abort) => this.handle.call("decided", abort)));
  }
}

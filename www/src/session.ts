/** This tab's agent: an onlooker in one swarm, and what it sees there. */

import type { Agent, AgentEvent, AgentStatus, Document, Member, Patch, PresenceEntry, Value } from "aepoch";
import { batch, effect, signal } from "@preact/signals";
import { agentOf, credential } from "./credential.js";
import { attempt, report } from "./feed.js";
import { OpenDocument } from "./open-document.js";
import { every, paced } from "./pace.js";
import { RefusedError, relayAddress, rest, type Health, type Listed } from "./rest.js";

type AnyAgent = Pick<Agent, keyof Agent>;
export type EngineName = "yrs" | "automerge";

/** Agents' states by agent. */
export type States = Readonly<Record<string, Readonly<Record<string, Value>>>>;

const CATCH_UP_MS = 1_500;

export class Session {
  readonly swarm: string;
  readonly agent: AnyAgent;
  readonly status = signal<AgentStatus | undefined>(undefined);
  readonly members = signal<readonly Member[]>([]);
  readonly states = signal<States>({});
  readonly presence = signal<readonly PresenceEntry<Value>[]>([]);
  /** Names of agents by the number they write under. */
  readonly writers = signal<ReadonlyMap<string, string>>(new Map());
  /** When each writer was last heard, by our clock. */
  readonly heard = new Map<string, number>();
  readonly #begun = Date.now();
  readonly isOnline = signal(true);
  readonly current = signal<OpenDocument | undefined>(undefined);
  readonly #document: Document;
  readonly #leaving: (() => void)[] = [];
  #other: { engine: EngineName; agent: AnyAgent } | undefined;

  private constructor(swarm: string, agent: AnyAgent, document: Document) {
    this.swarm = swarm;
    this.agent = agent;
    this.#document = document;
    const look = paced(250, () => this.#readMembers());
    const seen = paced(250, async () => void (this.presence.value = await document.presence()));
    const changes = document.observe("", (heard) => {
      this.hearWriters(heard.patches, this.#begun);
      look();
    });
    const events = agent.events((event) => {
      if (event.kind === "presence") seen();
      this.#hear(event);
    });
    this.#leaving.push(() => changes.stop(), () => events.stop(), every(500, () => this.readStatus()));
    look();
    seen();
  }

  static async open(swarm: string): Promise<Session> {
    const { Agent } = await import("aepoch");
    const agent = await Agent.open(settings(swarm));
    return new Session(swarm, agent, await agent.swarm());
  }

  /** Opens a document and shows it. */
  async show(name: string, engine: EngineName): Promise<void> {
    if (this.current.value?.name === name) return;
    const before = this.current.value;
    const agent = await this.#agentFor(engine);
    const opened = new OpenDocument(await agent.document(name, { engine }), engine, this);
    batch(() => {
      this.current.value = opened;
      before?.close();
    });
  }

  /** An engine's own module knows no other's documents, so those get an agent of their own. */
  async #agentFor(engine: EngineName): Promise<AnyAgent> {
    if (engine === "yrs") return this.agent;
    if (!this.#other) {
      const { Agent } = await import("aepoch/automerge");
      const agent = await Agent.open({ ...settings(this.swarm, "-a"), engine });
      if (!this.isOnline.value) await agent.setOnline(false);
      const events = agent.events((event) => this.#hear(event));
      this.#leaving.push(() => events.stop());
      this.#other = { engine, agent };
    }
    return this.#other.agent;
  }

  async #readMembers(): Promise<void> {
    const [members, tree] = await Promise.all([this.#document.members(), this.#document.tree()]);
    const states = (tree as { agent?: States } | null)?.agent ?? {};
    const writers = new Map(members.map(({ replica, member }) => [String(replica), member.agent]));
    for (const agent of this.#agents()) writers.set(BigInt(`0x${await agent.replica()}`).toString(), "this tab");
    batch(() => {
      this.members.value = members;
      this.states.value = states;
      this.writers.value = writers;
    });
  }

  #agents(): AnyAgent[] {
    return this.#other ? [this.agent, this.#other.agent] : [this.agent];
  }

  #hear(event: AgentEvent): void {
    this.current.value?.hear(event);
    switch (event.kind) {
      case "linkDown":
        if (this.isOnline.value) report("link", `the connection to ${event.agent} ended: ${event.reason}`);
        break;
      case "refused":
        report("refused", `${event.document ?? "the relay"}: ${event.reason} (${event.code})`);
        break;
      case "quarantined":
      case "storeFailed":
        report(event.kind === "quarantined" ? "quarantine" : "store", `${event.document}: ${event.reason}`);
        break;
      case "storage":
        report("storage", event.reason);
        break;
      case "renewalAsked":
        report("credential", "the credential ends soon");
        break;
      default:
        return;
    }
    this.readStatus();
  }

  /** What comes at first was written at some time before. */
  hearWriters(patches: readonly Patch[], begun: number): void {
    const now = Date.now();
    if (now < begun + CATCH_UP_MS) return;
    for (const { writer } of patches) if (writer !== null) this.heard.set(String(writer), now);
  }

  readStatus(): void {
    attempt("agent", async () => {
      const all = await Promise.all(this.#agents().map((agent) => agent.status()));
      const [first, second] = all;
      if (!first) return;
      this.status.value = second
        ? {
            ...first,
            unsynced: first.unsynced + second.unsynced,
            stalled: first.stalled ?? second.stalled,
            bytes_in: first.bytes_in + second.bytes_in,
            bytes_out: first.bytes_out + second.bytes_out,
          }
        : first;
    });
  }

  /** Cuts this tab off, or lets it back. */
  async setOnline(online: boolean): Promise<void> {
    this.isOnline.value = online;
    await Promise.all(this.#agents().map((agent) => agent.setOnline(online)));
    this.readStatus();
  }

  /** Waits until all that was written here is durable at the relay. */
  async flush(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#agents().map((agent) => agent.flush({ signal })));
  }

  async close(): Promise<void> {
    for (const leave of this.#leaving) leave();
    this.current.value?.close();
    await Promise.all(this.#agents().map((agent) => agent.close()));
  }
}

function settings(swarm: string, suffix = "") {
  const shown = credential.value;
  const name = shown ? agentOf(shown.token) : `dashboard-${crypto.randomUUID().slice(0, 6)}${suffix}`;
  return { name, swarm, connect: relayAddress(), onlooker: true, ...(shown && { credential: shown }) };
}

/** Documents at the relay, by its own list. */
export const listed = signal<readonly Listed[]>([]);
export const health = signal<Health | undefined>(undefined);
/** How long the relay took to answer lately, in milliseconds, oldest first. */
export const roundTrips = signal<readonly number[]>([]);
/** The relay asks for a credential and there is none, or it does not count. */
export const askedFor = signal<string | undefined>(undefined);
/** The swarm looked at. */
export const swarm = signal<string | undefined>(undefined);
export const session = signal<Session | undefined>(undefined);

/** Swarms with documents at the relay. */
export function swarms(): string[] {
  return [...new Set(listed.value.map((one) => one.document.slice(0, one.document.lastIndexOf("/"))))];
}

/** Documents of the swarm looked at, without its own. */
export function documents(): Listed[] {
  const prefix = `${swarm.value}/`;
  return listed.value.filter(({ document }) => document.startsWith(prefix) && document !== `${prefix}_swarm`);
}

async function readListed(): Promise<void> {
  try {
    listed.value = await rest.documents();
    askedFor.value = undefined;
  } catch (thrown) {
    if (thrown instanceof RefusedError && thrown.status === 401) askedFor.value = thrown.message;
    else if (session.value?.isOnline.value ?? true) report("relay", `no list of documents: ${(thrown as Error).message}`);
    return;
  }
  const known = swarms();
  if (swarm.value === undefined && known[0] !== undefined) swarm.value = known[0];
}

async function readHealth(): Promise<void> {
  const start = performance.now();
  try {
    health.value = await rest.health();
    roundTrips.value = [...roundTrips.value, performance.now() - start].slice(-120);
  } catch {
    health.value = undefined;
  }
}

/** Looks at the relay from now on, and opens a session for the swarm chosen. */
export function begin(): void {
  every(2_000, () => void readListed());
  every(2_000, () => void readHealth());
  let opened: { swarm: string; token: string | undefined } | undefined;
  effect(() => {
    const [wanted, token, refused] = [swarm.value, credential.value?.token, askedFor.value];
    if (wanted === undefined || refused !== undefined) return;
    if (opened?.swarm === wanted && opened.token === token) return;
    opened = { swarm: wanted, token };
    attempt("session", async () => {
      const before = session.peek();
      session.value = undefined;
      await before?.close();
      session.value = await Session.open(wanted);
    });
  });
  // The first document, until another is chosen.
  effect(() => {
    const [now, all] = [session.value, documents()];
    const first = all.find(({ live }) => live) ?? all[0];
    if (!now || now.current.value || !first) return;
    chooseDocument(first);
  });
}

export function chooseDocument({ document, live }: Listed): void {
  const now = session.peek();
  if (!now) return;
  const name = document.slice(now.swarm.length + 1);
  // Of a document that nobody is in, the list does not say.
  attempt("document", async () => now.show(name, live?.engine ?? (await rest.document(document)).engine));
}

/** The name of whoever writes under a number. */
export function writerName(replica: string | number | null): string {
  if (replica === null) return "unknown";
  return session.value?.writers.value.get(String(replica)) ?? String(replica);
}

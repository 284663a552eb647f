/**
 * Tabs of one origin that share an agent: its store, its connection, its name.
 *
 * One of them leads: it holds a lock of the browser's and runs the module. The others speak to it over a channel. When it
 * goes, closed or crashed, the browser gives the lock to the next one, which opens the module on the same store. What a
 * follower writes is answered once it is in the store, so that no leader takes it away.
 *
 * A tab that holds a lock is not frozen by browsers that keep to the specification of page lifecycles.
 */

import type { Place, PlaceOptions } from "./engine.js";
import {
  ClosedError,
  InterruptedError,
  PanicError,
  StorageUnavailableError,
  errorOf,
  isTrap,
  toError,
} from "./errors.js";
import { traitsOf } from "./methods.js";
import { Port, Service, type Message } from "./port.js";
import type { RawAgent } from "./raw.js";
import { Life, type Lives } from "./recovery.js";
import { LocalSource, type Source } from "./source.js";

/** What tabs say to each other. `life` numbers the lives of a leader: what belongs to another one is passed over. */
type Word =
  | { kind: "who"; from: string; name: string; swarm: string }
  | { kind: "lead"; from: string; life: number; to?: string }
  | { kind: "refuse"; to: string; code: string; message: string }
  | { kind: "over"; from: string; life: number; panic?: string }
  | { kind: "ask"; from: string; to: string; life: number; message: Message }
  | { kind: "tell"; from: string; to: string; life: number; message: Message }
  | { kind: "renew"; token: string };

/** What tabs need of the browser. */
export interface TabMeans {
  locks: Pick<LockManager, "request">;
  channel: (name: string) => Pick<BroadcastChannel, "postMessage" | "onmessage" | "close">;
}

function meansHere(): TabMeans | undefined {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks;
  if (!locks || typeof BroadcastChannel === "undefined") return undefined;
  return { locks, channel: (name) => new BroadcastChannel(name) };
}

const gone = (isTaken: boolean): InterruptedError =>
  new InterruptedError("Interrupted", "the tab that ran the agent is gone", { begun: isTaken });

/** An agent that the tabs of an origin share. */
export class TabSource implements Source {
  readonly #name: string;
  readonly #place: () => Place;
  readonly #options: PlaceOptions;
  readonly #lives: Lives;
  readonly #means: TabMeans;
  readonly #id = crypto.randomUUID();
  readonly #channel: ReturnType<TabMeans["channel"]>;
  /** Ends the wait for the leader's lock. */
  readonly #leaving = new AbortController();
  /** Lets go of the locks held. */
  readonly #release: (() => void)[] = [];
  #leader: Leader | undefined;
  #following: { leader: string; life: number; port: Port } | undefined;
  #isClosed = false;

  constructor(store: string, place: () => Place, options: PlaceOptions, lives: Lives, means = meansHere()) {
    if (!means) throw new TypeError("there are no tabs here");
    this.#name = `aepoch:${store}`;
    this.#place = place;
    this.#options = options;
    this.#lives = lives;
    this.#means = means;
    this.#channel = means.channel(this.#name);
    this.#channel.onmessage = (event: MessageEvent<Word>) => this.#hear(event.data);
  }

  /**
   * Whether tabs can share here; in Node there are none. Fails in pages that browsers give no locks, for two tabs that
   * write as one agent and do not know of each other would undo each other's work.
   */
  static isPossible(): boolean {
    if (meansHere()) return true;
    if (typeof isSecureContext === "undefined") return false;
    const message = "the browser gives this page no locks for its store: serve it over https, or from localhost";
    throw new StorageUnavailableError("StorageUnavailable", message);
  }

  async begin(): Promise<void> {
    this.#lives.each((life) => {
      if (!life && this.#lives.over) this.#leave(this.#lives.over);
    });
    // Others see by this lock that this tab lives.
    await this.#hold(`${this.#name}:${this.#id}`);
    this.#stand();
    const { name, swarm } = this.#options;
    this.#say({ kind: "who", from: this.#id, name, swarm });
    await this.#lives.next();
  }

  /** Takes a lock, and keeps it until this is closed. */
  #hold(name: string): Promise<void> {
    return new Promise((held, failed) => {
      const hold = (): Promise<void> => {
        held();
        return new Promise((release) => this.#release.push(release));
      };
      this.#means.locks.request(name, hold).catch(failed);
    });
  }

  /** Waits to lead. */
  #stand(): void {
    const lead = async (): Promise<void> => {
      if (this.#isClosed) return;
      this.#unfollow(gone);
      const leader = new Leader(this.#name, this.#id, this.#means, (word) => this.#say(word));
      const source = new LocalSource(this.#place(), this.#options, this.#lives, (life) => leader.lives(life));
      leader.source = source;
      this.#leader = leader;
      const over = new Promise<void>((release) => this.#release.push(release));
      try {
        await source.begin();
        await over;
      } catch (thrown) {
        // The next tab may fare better.
        this.#leader = undefined;
        this.#leave(toError(thrown));
      }
    };
    const signal = this.#leaving.signal;
    this.#means.locks.request(this.#name, { signal }, lead).catch((thrown: unknown) => {
      if (!signal.aborted) this.#leave(toError(thrown));
    });
  }

  #say(word: Word): void {
    if (!this.#isClosed) this.#channel.postMessage(word);
  }

  #hear(word: Word): void {
    switch (word.kind) {
      case "who": {
        const { name, swarm } = this.#options;
        if (!this.#leader) return;
        if (word.name === name && word.swarm === swarm) return this.#leader.greet(word.from);
        const message = `the store is in use by agent ${name} of swarm ${swarm}`;
        return this.#say({ kind: "refuse", to: word.from, code: "Busy", message });
      }
      case "lead":
        return this.#follow(word.from, word.life);
      case "refuse":
        return word.to === this.#id ? this.#leave(errorOf(word.code, word.message)) : undefined;
      case "over":
        if (this.#following?.leader !== word.from || this.#following.life !== word.life) return;
        return this.#unfollow((isTaken) =>
          word.panic === undefined
            ? new InterruptedError("Interrupted", "the tab that ran the agent has closed it", { begun: isTaken })
            : new PanicError("Panic", word.panic),
        );
      case "ask":
        return word.to === this.#id ? this.#leader?.hear(word.from, word.life, word.message) : undefined;
      case "tell":
        if (word.to !== this.#id || word.from !== this.#following?.leader || word.life !== this.#following.life) return;
        return this.#following.port.hear(word.message);
      case "renew":
        return this.#renewed(word.token);
    }
  }

  #follow(leader: string, life: number): void {
    if (this.#isClosed || this.#leader || (this.#following?.leader === leader && this.#following.life === life)) return;
    this.#unfollow(gone);
    const port = new Port((message) => this.#say({ kind: "ask", from: this.#id, to: leader, life, message }));
    this.#following = { leader, life, port };
    this.#lives.begin(new Life(port.root<RawAgent>()));
  }

  #unfollow(reason: (isTaken: boolean) => InterruptedError | PanicError): void {
    const following = this.#following;
    if (!following) return;
    this.#following = undefined;
    this.#lives.end(reason(true));
    following.port.end(reason);
  }

  renewed(token: string): void {
    this.#renewed(token);
    this.#say({ kind: "renew", token });
  }

  #renewed(token: string): void {
    if (this.#options.credential) this.#options.credential.token = token;
  }

  /** Leaves the other tabs alone. */
  #leave(reason: ReturnType<typeof toError>): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#leaving.abort();
    const following = this.#following;
    this.#following = undefined;
    this.#lives.close(reason);
    following?.port.end(() => reason);
    this.#channel.close();
    for (const release of this.#release.splice(0)) release();
  }

  async close(): Promise<void> {
    const leader = this.#leader;
    this.#leader = undefined;
    if (leader) {
      await leader.settled();
      leader.end();
      await leader.source?.close();
    }
    this.#leave(new ClosedError("Closed", "the agent has been closed"));
  }
}

/** What the tab that leads does for the others. */
class Leader {
  source: LocalSource | undefined;
  readonly #name: string;
  readonly #id: string;
  readonly #means: TabMeans;
  readonly #say: (word: Word) => void;
  readonly #services = new Map<string, Service>();
  /** Ends the wait for the followers' ends. */
  #watching = new AbortController();
  /** Answers that followers wait for. */
  readonly #keeping = new Set<Promise<unknown>>();
  #life: { life: Life; number: number } | undefined;
  #number = 0;

  constructor(name: string, id: string, means: TabMeans, say: (word: Word) => void) {
    this.#name = name;
    this.#id = id;
    this.#means = means;
    this.#say = say;
  }

  /** A life has begun. */
  lives(life: Life): void {
    const number = ++this.#number;
    this.#life = { life, number };
    life.onEnd = (reason) => this.#over(number, reason.message);
    this.#say({ kind: "lead", from: this.#id, life: number });
  }

  /** A tab asks who leads. */
  greet(tab: string): void {
    if (this.#life) this.#say({ kind: "lead", from: this.#id, life: this.#life.number, to: tab });
  }

  /** A follower calls. */
  hear(tab: string, life: number, message: Message): void {
    if (life === this.#life?.number) this.#serviceOf(tab, this.#life.life, life).hear(message);
  }

  #serviceOf(tab: string, life: Life, number: number): Service {
    const known = this.#services.get(tab);
    if (known) return known;
    const keep = (method: string): Promise<unknown> | undefined => {
      if (!traitsOf(method).writes) return undefined;
      // A follower hears of it once it is kept.
      // When the store fails the write stands as one of this tab's would: in memory, and everybody hears of it.
      const kept = Promise.resolve(life.agent.persisted()).catch(() => {});
      this.#keeping.add(kept);
      return kept.finally(() => this.#keeping.delete(kept));
    };
    const failed = (thrown: unknown): void => {
      if (isTrap(thrown)) life.trap(String(thrown));
    };
    const post = (message: Message): void =>
      this.#say({ kind: "tell", from: this.#id, to: tab, life: number, message });
    const service = new Service(life.agent, post, { settle: keep, failed });
    this.#services.set(tab, service);
    const { signal } = this.#watching;
    const gone = (): void => {
      service.end();
      if (this.#services.get(tab) === service) this.#services.delete(tab);
    };
    this.#means.locks.request(`${this.#name}:${tab}`, { signal }, gone).catch(() => {});
    return service;
  }

  #over(number: number, panic?: string): void {
    if (this.#life?.number !== number) return;
    this.#life = undefined;
    this.#watching.abort();
    this.#watching = new AbortController();
    this.#services.clear();
    this.#say({ kind: "over", from: this.#id, life: number, ...(panic !== undefined && { panic }) });
  }

  /** Waits for the answers on their way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#keeping);
    // They are said in this turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve));
  }

  /** Another tab leads from here on. */
  end(): void {
    if (!this.#life) return;
    const { life, number } = this.#life;
    life.onEnd = undefined;
    for (const service of this.#services.values()) service.end();
    this.#over(number);
  }
}

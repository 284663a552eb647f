/**
 * Hooks for React: what a document holds, as external stores. A component renders when what it reads has changed, and
 * never because something else has.
 *
 * @packageDocumentation
 */

import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";

import type { AgentBase } from "./agent.js";
import type { Barrier, BarrierSettings, Passage } from "./coordination.js";
import type { Register } from "./content.js";
import type { Document, Names, Of, PresenceOf, Shape } from "./document.js";
import { toError, type AepochError } from "./errors.js";
import type { Value } from "./json.js";
import type { PresenceEntry } from "./report.js";

/** Something read from a document: `undefined` until it was read for the first time. */
class Watched<T> {
  #value: T | undefined;
  #text: string | undefined;
  readonly #read: () => Promise<T | undefined>;
  readonly #begin: (changed: () => void) => { stop(): void };
  readonly #readers = new Set<() => void>();
  #hearing: { stop(): void } | undefined;
  #reading = false;
  #isStale = false;

  constructor(read: () => Promise<T | undefined>, begin: (changed: () => void) => { stop(): void }) {
    this.#read = read;
    this.#begin = begin;
  }

  readonly get = (): T | undefined => this.#value;

  readonly subscribe = (reader: () => void): (() => void) => {
    this.#readers.add(reader);
    if (!this.#hearing) {
      this.#hearing = this.#begin(() => void this.#renew());
      void this.#renew();
    }
    return () => {
      this.#readers.delete(reader);
      if (this.#readers.size > 0) return;
      this.#hearing?.stop();
      this.#hearing = undefined;
    };
  };

  /** Reads anew, once more when something has changed meanwhile. */
  async #renew(): Promise<void> {
    this.#isStale = true;
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#isStale && this.#hearing) {
        this.#isStale = false;
        const value = await this.#read();
        const text = JSON.stringify(value) as string | undefined;
        // An equal value keeps its identity, so that nobody renders for it.
        if (text === this.#text) continue;
        this.#text = text;
        this.#value = value;
        for (const reader of [...this.#readers]) reader();
      }
    } catch {
      // The document is closed, or its agent between two lives: the next change, or a missed one, reads again.
    } finally {
      this.#reading = false;
    }
  }
}

function useWatched<T>(watched: Watched<T> | undefined): T | undefined {
  const none = useCallback(() => () => {}, []);
  return useSyncExternalStore(watched?.subscribe ?? none, watched?.get ?? nothing, nothing);
}

const nothing = (): undefined => undefined;

/** A document of the agent: `undefined` until it is open. Closed with the component. */
export function useDocument<S extends Shape = Shape>(
  agent: AgentBase | undefined,
  name: string,
): Document<S> | undefined {
  const [opened, setOpened] = useState<{ agent: AgentBase; name: string; document: Document<S> }>();
  const [failure, setFailure] = useState<AepochError>();
  useEffect(() => {
    if (!agent) return undefined;
    let isWanted = true;
    let document: Document<S> | undefined;
    const failed = (thrown: unknown): void => {
      if (isWanted) setFailure(toError(thrown));
    };
    agent.document<S>(name).then((ready) => {
      if (!isWanted) return ready.close();
      document = ready;
      setOpened({ agent, name, document });
    }, failed);
    return () => {
      isWanted = false;
      document?.close();
    };
  }, [agent, name]);
  // For the error boundary around it.
  if (failure) throw failure;
  return opened?.agent === agent && opened?.name === name ? opened.document : undefined;
}

/** A value as a component has it, and what sets it; `undefined` until it was read for the first time. */
export type Settable<T> = [value: T | undefined, set: (value: T) => Promise<void>];

/** What {@link useRegister} needs of a document, whatever its shape. */
export interface WithRegisters extends Pick<Document, "observe"> {
  /** A value with several writers. */
  register<T>(name: string): Register<T>;
}

/** A register's value, and what sets it. */
export function useRegister<S extends Shape, N extends Names<S, "registers">>(
  document: Document<S> | undefined,
  name: N,
): Settable<Of<S, "registers", N>>;
export function useRegister<T = Value>(document: WithRegisters | undefined, name: string): Settable<T>;
export function useRegister(document: WithRegisters | undefined, name: string): Settable<unknown> {
  const watched = useMemo(() => {
    const register = document?.register<unknown>(name);
    if (!document || !register) return undefined;
    const path = `register/${name}`;
    const begin = (changed: () => void): { stop(): void } =>
      document.observe(path, ({ patches, missed }) => {
        if (missed || patches.some((patch) => patch.path.name === name)) changed();
      });
    return new Watched(() => register.get(), begin);
  }, [document, name]);
  const set = useCallback(
    async (value: unknown): Promise<void> => {
      await document?.register<unknown>(name).set(value);
    },
    [document, name],
  );
  return [useWatched(watched), set];
}

/** The ephemeral states of all agents in a document, and what sets this agent's. */
export function usePresence<S extends Shape>(
  agent: AgentBase | undefined,
  document: Document<S> | undefined,
): [present: PresenceEntry<PresenceOf<S>>[], set: (state: PresenceOf<S>) => Promise<void>] {
  const watched = useMemo(() => {
    if (!agent || !document) return undefined;
    const own = document.id();
    own.catch(() => {});
    const begin = (changed: () => void): { stop(): void } =>
      agent.events(async (event) => {
        if (event.kind === "missed" || event.kind === "linkUp" || event.kind === "linkDown") return changed();
        if (event.kind === "presence" && event.document === (await own.catch(nothing))) changed();
      });
    return new Watched(() => document.presence(), begin);
  }, [agent, document]);
  const set = useCallback(
    async (state: PresenceOf<S>): Promise<void> => {
      await document?.setPresence(state);
    },
    [document],
  );
  return [useWatched(watched) ?? NOBODY, set];
}

const NOBODY: never[] = [];

/** How a component stands at a barrier. */
export interface AtBarrier {
  /** `idle` until {@link arrive} is called, then `waiting`, then `passed` or `failed`. */
  phase: "idle" | "waiting" | "passed" | "failed";
  /** How the wait ended. */
  passage: Passage | undefined;
  error: AepochError | undefined;
  /** Arrives, once in a generation, and waits for the release. */
  arrive: () => Promise<Passage | undefined>;
}

/**
 * A barrier. The settings count when {@link AtBarrier.arrive} is called; the wait ends with the component, the arrival
 * stays.
 */
export function useBarrier(
  document: Pick<Document, "barrier"> | undefined,
  name: string,
  settings: BarrierSettings = {},
): AtBarrier {
  const [state, setState] = useState<Omit<AtBarrier, "arrive">>(IDLE);
  const text = JSON.stringify(settings);
  const leaving = useMemo(() => ({ current: new AbortController() }), [document, name]);
  useEffect(() => {
    leaving.current = new AbortController();
    setState(IDLE);
    return () => leaving.current.abort();
  }, [leaving]);
  const arrive = useCallback(async (): Promise<Passage | undefined> => {
    if (!document) return undefined;
    const { signal } = leaving.current;
    let barrier: Barrier | undefined;
    setState({ phase: "waiting", passage: undefined, error: undefined });
    try {
      barrier = await document.barrier(name, JSON.parse(text) as BarrierSettings, { signal });
      const passage = await barrier.arrive({ signal });
      if (!signal.aborted) setState({ phase: "passed", passage, error: undefined });
      return passage;
    } catch (thrown) {
      if (signal.aborted) return undefined;
      setState({ phase: "failed", passage: undefined, error: toError(thrown) });
      return undefined;
    } finally {
      barrier?.close();
    }
  }, [document, name, text, leaving]);
  return useMemo(() => ({ ...state, arrive }), [state, arrive]);
}

const IDLE: Omit<AtBarrier, "arrive"> = { phase: "idle", passage: undefined, error: undefined };

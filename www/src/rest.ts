/** The relay's REST interface: what an agent cannot see for itself. */

import type { DocumentStatus, Value } from "aepoch";
import { authorization, credential } from "./credential.js";

/** A line of `/v1/documents`. */
export interface Listed {
  document: string;
  stored: { entries: number; log_bytes: number; snapshot_bytes: number } | null;
  live: DocumentStatus | null;
}

export interface Health {
  status: "ok" | "failing" | "stopping";
  reason: string | null;
  relay: string;
  version: string;
  connections: number;
  uptime_seconds: number;
}

/** A change of a document's content. */
export interface Change {
  /** None: it made a container, which is nobody's. */
  writer: number | null;
  seq: number;
  id: string;
  ops: number;
}

/** The answer of `/v1/history/{id}`. */
export interface Told {
  changes: number;
  from: number;
  listed: Change[];
  value?: Readonly<Record<string, Readonly<Record<string, Value>>>>;
}

/** The answer of `/v1/documents/{id}`. */
export interface Shown {
  engine: "yrs" | "automerge";
}

/** The relay answered, but not with what was asked for. */
export class RefusedError extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

async function ask(path: string, query = ""): Promise<Response> {
  const shown = credential.value;
  const headers: HeadersInit = shown ? { authorization: await authorization(shown, path) } : {};
  const answer = await fetch(path + query, { headers, signal: AbortSignal.timeout(15_000) });
  if (answer.ok || path === "/health") return answer;
  const said = (await answer.json().catch(() => undefined)) as { error?: string } | undefined;
  throw new RefusedError(answer.status, said?.error ?? `${path} answered ${answer.status}`);
}

export const rest = {
  documents: async (): Promise<Listed[]> => (await ask("/v1/documents")).json() as Promise<Listed[]>,
  document: async (id: string): Promise<Shown> => (await ask(`/v1/documents/${id}`)).json() as Promise<Shown>,
  /** The changes from one on, or the content as it was after one. */
  history: async (id: string, asked: { from: number } | { at: number }): Promise<Told> => {
    const query = "at" in asked ? `?at=${asked.at}` : `?from=${asked.from}`;
    return (await ask(`/v1/history/${id}`, query)).json() as Promise<Told>;
  },
  health: async (): Promise<Health> => (await ask("/health")).json() as Promise<Health>,
  metrics: async (): Promise<string> => (await ask("/metrics")).text(),
};

/** Where this tab's agent connects to: whoever served the page. */
export function relayAddress(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
}

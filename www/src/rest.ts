/** The relay's REST interface: what an agent cannot see for itself. */

import type { DocumentStatus } from "aepoch";
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

/** The relay answered, but not with what was asked for. */
export class RefusedError extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

async function ask(path: string): Promise<Response> {
  const shown = credential.value;
  const headers: HeadersInit = shown ? { authorization: await authorization(shown, path) } : {};
  const answer = await fetch(path, { headers, signal: AbortSignal.timeout(15_000) });
  if (answer.ok || path === "/health") return answer;
  const said = (await answer.json().catch(() => undefined)) as { error?: string } | undefined;
  throw new RefusedError(answer.status, said?.error ?? `${path} answered ${answer.status}`);
}

export const rest = {
  documents: async (): Promise<Listed[]> => (await ask("/v1/documents")).json() as Promise<Listed[]>,
  health: async (): Promise<Health> => (await ask("/health")).json() as Promise<Health>,
  metrics: async (): Promise<string> => (await ask("/metrics")).text(),
};

/** Where this tab's agent connects to: whoever served the page. */
export function relayAddress(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
}

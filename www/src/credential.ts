/**
 * The credential this tab shows: kept in memory and in this tab's session storage, sent in headers and messages, never in
 * an address. How a request is signed: `docs/security.md`.
 */

import { signal } from "@preact/signals";

export interface Credential {
  token: string;
  /** The private key the token is bound to, as JWK text. */
  key: string;
}

const KEPT = "aepoch/credential";

function kept(): Credential | undefined {
  try {
    const text = sessionStorage.getItem(KEPT);
    return text === null ? undefined : (JSON.parse(text) as Credential);
  } catch {
    return undefined;
  }
}

/** The credential in use, if any. */
export const credential = signal<Credential | undefined>(kept());

export function useCredential(given: Credential | undefined): void {
  credential.value = given;
  try {
    if (given) sessionStorage.setItem(KEPT, JSON.stringify(given));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage it is kept in memory alone.
  }
}

/** The agent a token is for. Fails with `TypeError` when it is no token. */
export function agentOf(token: string): string {
  const payload = token.trim().split("~").at(-1)?.split(".")[1];
  if (!payload) throw new TypeError("this is no token: it has three parts with dots between");
  const claims = JSON.parse(new TextDecoder().decode(fromBase64Url(payload))) as { sub?: unknown };
  if (typeof claims.sub !== "string") throw new TypeError("the token names no agent (`sub`)");
  return claims.sub;
}

/** Fails with `TypeError` when this is no private key of the kind credentials are bound to. */
export function checkKey(text: string): void {
  const key = JSON.parse(text) as JsonWebKey;
  if (key.kty !== "OKP" || key.crv !== "Ed25519" || !key.d) throw new TypeError("this is no private Ed25519 key (JWK)");
}

/** The value of the `Authorization` header of a `GET`, good for a minute. */
export async function authorization({ token, key }: Credential, path: string): Promise<string> {
  const jwk = { ...(JSON.parse(key) as JsonWebKey), key_ops: ["sign"] };
  const signer = await crypto.subtle.importKey("jwk", jwk, { name: "Ed25519" }, false, ["sign"]);
  const text = new TextEncoder();
  const now = Math.floor(Date.now() / 1000);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text.encode(token)));
  const parts = [text.encode("swm/http/1\0"), digest, big64(now)];
  for (const part of ["GET", path, location.host]) {
    const bytes = text.encode(part);
    parts.push(big64(bytes.length), bytes);
  }
  const signature = await crypto.subtle.sign("Ed25519", signer, joined(parts));
  return `Aepoch ${token} ${now} ${toBase64Url(new Uint8Array(signature))}`;
}

function big64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function fromBase64Url(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

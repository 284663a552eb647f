// What the tests stand on: the program as a relay and as an agent, and the clients of other libraries as they are.

import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test as run } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import { WebSocket } from "ws";
import { WebsocketProvider as Provider3 } from "y-websocket";
import { WebsocketProvider as Provider2 } from "y-websocket-2";
import * as Y from "yjs";

export { WebSocket, Y };

// y-websocket looks there for the states of a socket, whatever it was given.
globalThis.WebSocket ??= WebSocket;
// Every relay hears of the end of the process.
process.setMaxListeners(0);

export const binary = process.env.AEPOCH ?? fileURLToPath(new URL("../../../target/release/aepoch", import.meta.url));

/** A test that fails when it does not end. */
export const test = (name, holds, options) => run(name, { timeout: 120_000, ...options }, holds);

/** Looks until it holds; the test's own deadline ends what never does. */
export async function until(holds) {
  for (;;) {
    const value = await holds();
    if (value) return value;
    await sleep(20);
  }
}

/** A port nobody listens on just now, so that a relay can come back to where it was. */
async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** A relay with a store of its own. */
export async function started(...more) {
  const folder = mkdtempSync(join(tmpdir(), "aepoch-interop-"));
  const port = await freePort();
  let child;
  const start = async (...others) => {
    const args = ["serve", "--listen", `127.0.0.1:${port}`, "--store", join(folder, "relay.redb"), "--log", "error"];
    child = spawn(binary, [...args, ...more, ...others], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout });
    const said = new Promise((found) => lines.on("line", (line) => line.includes("listening") && found()));
    const ended = new Promise((_, failed) => child.once("exit", (code) => failed(new Error(`the relay ended: ${code}`))));
    ended.catch(() => {});
    await Promise.race([said, ended]);
  };
  const kill = async () => {
    const gone = new Promise((exited) => child.once("exit", exited));
    child.kill("SIGKILL");
    await gone;
  };
  await start();
  return {
    url: `ws://127.0.0.1:${port}`,
    kill,
    start,
    end: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
    metric: async (name) => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(text.split("\n").find((line) => line.startsWith(name))?.split(" ").at(-1));
    },
  };
}

/** The same, which goes when the test ends. */
export async function relay(t, ...more) {
  const made = await started(...more);
  t.after(made.end);
  return made;
}

/** Runs the program as an agent, in the document `band/<document>`. */
export async function agent(at, document, ...args) {
  const place = ["--connect", at.url, "--swarm", "band", "--document", document, "--json"];
  const { stdout } = await promisify(execFile)(binary, [...args, ...place]);
  return JSON.parse(stdout);
}

/** The value at a path, as an agent reads it; undefined when there is none. */
export const read = (at, document, path) => agent(at, document, "state", "get", path).catch(() => undefined);

const alive = new Set();

function ofYWebsocket(Provider) {
  return (at, document, options = {}) => {
    const doc = options.doc ?? new Y.Doc();
    const provider = new Provider(`${at.url}/yjs`, `band/${document}`, doc, {
      WebSocketPolyfill: WebSocket,
      // Clients of one process would speak to each other past the relay.
      disableBc: true,
      maxBackoffTime: 200,
      ...options.provider,
    });
    return {
      doc,
      provider,
      awareness: provider.awareness,
      isSynced: () => provider.synced,
      disconnect: () => provider.disconnect(),
      connect: () => provider.connect(),
      end: () => {
        provider.destroy();
        provider.awareness.destroy();
      },
    };
  };
}

function ofHocuspocus(at, document, options = {}) {
  const doc = options.doc ?? new Y.Doc();
  const websocketProvider =
    options.socket ??
    new HocuspocusProviderWebsocket({
      url: `${at.url}/hocuspocus`,
      WebSocketPolyfill: WebSocket,
      delay: 100,
      minDelay: 100,
      maxDelay: 200,
    });
  const provider = new HocuspocusProvider({
    websocketProvider,
    name: `band/${document}`,
    document: doc,
    ...options.provider,
  });
  provider.attach();
  return {
    doc,
    provider,
    awareness: provider.awareness,
    isSynced: () => provider.synced,
    disconnect: async () => {
      websocketProvider.disconnect();
      await until(() => websocketProvider.status === "disconnected");
    },
    connect: () => websocketProvider.connect(),
    end: () => {
      provider.destroy();
      if (!options.socket) websocketProvider.destroy();
    },
  };
}

/** How an automerge-repo reaches a relay. */
export function adapterOf(url) {
  const adapter = new WebSocketClientAdapter(url, 200);
  // A relay that is killed may reset connections: the library throws that, although it dials again.
  const { onError } = adapter;
  adapter.onError = (event) => event.error?.code === "ECONNRESET" || onError(event);
  return adapter;
}

/** The libraries, by name: each makes a client of a document. */
export const clients = {
  "y-websocket 3": ofYWebsocket(Provider3),
  "y-websocket 2": ofYWebsocket(Provider2),
  "hocuspocus 4": ofHocuspocus,
};

/** A client that has what the relay has, until the test ends. */
export async function client(t, library, at, document, options) {
  const made = clients[library](at, document, options);
  alive.add(made);
  t.after(() => end(made));
  if (options?.waits !== false) await until(made.isSynced);
  return made;
}

/** Ends a client before its test does. */
export function end(made) {
  if (alive.delete(made)) made.end();
}

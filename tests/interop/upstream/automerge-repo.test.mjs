// automerge-repo's own acceptance tests for network adapters, with the relay between the repos. Three of the seven are about
// repos that are each other's peers, and hang or fail at any server, theirs too: package.json names the other four. These
// give a connection 50 ms to come up, which a busy machine does not always manage: hence tried again.

// Loads automerge, which the tests themselves leave to whoever runs them.
import "@automerge/automerge-repo";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { runNetworkAdapterTests } from "@automerge/automerge-repo/helpers/tests/network-adapter-tests.js";
import { afterAll } from "vitest";

import { started } from "../test/stage.mjs";

const ends = [];
afterAll(() => Promise.all(ends.map((end) => end())));

runNetworkAdapterTests(async () => {
  const relay = await started();
  const adapters = [1, 2, 3].map(() => new WebSocketClientAdapter(`${relay.url}/automerge/band`, 100));
  ends.push(async () => {
    adapters.filter(({ peerId }) => peerId).forEach((adapter) => adapter.disconnect());
    await relay.end();
  });
  return { adapters };
}, "a relay");

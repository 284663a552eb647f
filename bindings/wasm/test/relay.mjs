// A relay for tests: the binary of this project, on a port of its own, with documents in memory.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const binary = process.env.AEPOCH ?? fileURLToPath(new URL("../../../target/release/aepoch", import.meta.url));

/** Starts a relay: its address, and what stops it. */
export async function relay() {
  const process = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--memory"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((_, failed) => {
    process.once("error", failed);
    process.once("exit", (code) => failed(new Error(`the relay ended with ${code}`)));
  });
  ended.catch(() => {});
  const lines = createInterface({ input: process.stdout });
  const said = new Promise((found) => lines.on("line", (line) => /ws:\/\/\S+:\d+/.test(line) && found(line)));
  const line = await Promise.race([said, ended]);
  return { address: /ws:\/\/[^\s,]+/.exec(line)[0], stop: () => process.kill() };
}

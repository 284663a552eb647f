// A relay for tests: the binary of this project, on a port of its own, with documents in memory.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const binary = process.env.AEPOCH ?? fileURLToPath(new URL("../../../target/release/aepoch", import.meta.url));

/** Starts a relay, with further arguments of `aepoch serve`: its address, and what stops it. */
export async function relay(...more) {
  const args = ["serve", "--listen", "127.0.0.1:0", "--memory", "--log", "error", ...more];
  const process = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((_, failed) => {
    process.once("error", failed);
    process.once("exit", (code) => failed(new Error(`the relay ended with ${code}`)));
  });
  ended.catch(() => {});
  const lines = createInterface({ input: process.stdout });
  const said = new Promise((found) => lines.on("line", (line) => /wss?:\/\/\S+:\d+/.test(line) && found(line)));
  const line = await Promise.race([said, ended]);
  return { address: /wss?:\/\/[^\s,]+/.exec(line)[0], stop: () => process.kill("SIGKILL") };
}

// The example in TypeScript of the README.

import { readFile } from "node:fs/promises";

export async function example() {
  const readme = await readFile(new URL("../../../README.md", import.meta.url), "utf8");
  return /```ts\n([^]*?)```/.exec(readme)[1];
}

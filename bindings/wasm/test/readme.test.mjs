// The example of the README compiles, with the strictest settings. That it works is tested in a browser.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import ts from "typescript";

import { example } from "./readme.mjs";

test("the example of the README compiles", async (t) => {
  // Beside this file, so that `aepoch` is this package.
  const folder = await mkdtemp(fileURLToPath(new URL("readme-", import.meta.url)));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "example.ts");
  await writeFile(file, await example());
  const { config } = ts.readConfigFile(fileURLToPath(new URL("tsconfig.json", import.meta.url)), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [file], include: [] }, ts.sys, fileURLToPath(new URL(".", import.meta.url)));
  const program = ts.createProgram([file], { ...options, noUnusedLocals: false, noEmit: true });
  const problems = ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  assert.deepEqual(problems, []);
});

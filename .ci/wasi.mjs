// Runs a test program compiled for wasm32-wasip1, with Node's WASI. Usage: node wasi.mjs PROGRAM.wasm [ARGUMENT]...
//
// The folder it is run in is the program's, under the same name: tests read what is committed beside them.

import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
const folder = process.cwd();
const wasi = new WASI({ version: "preview1", args: [program, ...args], env: process.env, preopens: { [folder]: folder, "/tmp": "/tmp" } });
const { instance } = await WebAssembly.instantiate(await readFile(program), wasi.getImportObject());
process.exitCode = wasi.start(instance);

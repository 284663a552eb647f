// What the package weighs: bytes as they are, gzip -9 and brotli 11, of each engine's module and its minified
// JavaScript. Fails when an engine grew by more than 5 % since sizes.json, or above its bar.
// Usage: node sizes.mjs [--record]   after build.sh; --record writes sizes.json anew.

import { readFile, writeFile } from "node:fs/promises";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

const GROWTH_MAX = 0.05;
/** Bytes of gzip, everything included. */
const BARS = { yrs: 240_000 };
const ENTRIES = { yrs: "index", automerge: "automerge" };
const recordFile = new URL("sizes.json", import.meta.url);

const pathOf = (path) => new URL(path, import.meta.url).pathname;

/** The JavaScript of an entry as an application's bundler would ship it. */
async function minified(entry) {
  const { outputFiles } = await build({
    entryPoints: [pathOf(`dist/${entry}.js`)],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  return outputFiles[0].contents;
}

function measure(bytes) {
  return {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length,
  };
}

const total = ({ module, script }) => module.gzip + script.gzip;

const recorded = JSON.parse(await readFile(recordFile, "utf8").catch(() => "{}"));
const measured = {};
const complaints = [];
for (const [engine, entry] of Object.entries(ENTRIES)) {
  const module = measure(await readFile(pathOf(`pkg/${engine}/aepoch_wasm_bg.wasm`)));
  const script = measure(await minified(entry));
  measured[engine] = { module, script };
  const now = total(measured[engine]);
  const before = recorded[engine] && total(recorded[engine]);
  console.table({ [`${engine}, module`]: module, [`${engine}, script`]: script });
  const change = before ? `, ${((now / before - 1) * 100).toFixed(1)} % against the ${before} recorded` : "";
  console.log(`${engine}: ${now} bytes of gzip in all${change}`);
  if (before && now > before * (1 + GROWTH_MAX)) complaints.push(`${engine} grew by more than ${GROWTH_MAX * 100} %`);
  if (!before && !process.argv.includes("--record")) complaints.push(`${engine} is not in sizes.json`);
  const isAbove = now > BARS[engine];
  if (isAbove && before > BARS[engine]) console.log(`${engine} has not come down to its bar of ${BARS[engine]} bytes yet`);
  else if (isAbove) complaints.push(`${engine} is above its bar of ${BARS[engine]} bytes`);
}
if (process.argv.includes("--record")) await writeFile(recordFile, `${JSON.stringify(measured, null, 2)}\n`);
for (const complaint of complaints) console.error(`sizes: ${complaint}`);
process.exitCode = complaints.length > 0 ? 1 : 0;

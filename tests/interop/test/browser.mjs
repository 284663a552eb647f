// Pages with an editor in them, in Debian's Chromium or the one `CHROMIUM` names.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const page = (name) => fileURLToPath(new URL(`../page/${name}`, import.meta.url));

/** Why there are no pages here; undefined when there are. */
export const noBrowser = existsSync(EXECUTABLE) ? undefined : "needs Debian's chromium, or CHROMIUM=<file>";

/** Serves the page and what it is bundled of: the site's origin, and what closes it. */
export async function site() {
  const bundled = await build({
    entryPoints: [page("editor.mjs")],
    bundle: true,
    format: "esm",
    target: "es2022",
    write: false,
    logLevel: "warning",
  });
  const files = {
    "/": ["text/html", await readFile(page("index.html"))],
    "/editor.js": ["text/javascript", bundled.outputFiles[0].contents],
    // Browsers ask for it by themselves.
    "/favicon.ico": ["image/x-icon", ""],
  };
  const server = createServer((request, response) => {
    const found = files[new URL(request.url, "http://localhost").pathname];
    if (!found) return response.writeHead(404).end();
    response.setHeader("content-type", found[0]).end(found[1]);
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}

export const browser = () => chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });

/** A tab of somebody's, with the editor in it. What its console complains of is added to `complaints`. */
export async function tab(context, origin, asked, complaints) {
  const made = await context.newPage();
  // The deadline of the test is the only one.
  made.setDefaultTimeout(0);
  made.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  made.on("pageerror", (error) => complaints.push(String(error)));
  await made.goto(`${origin}/?${new URLSearchParams(asked)}`);
  await made.waitForFunction(() => window.provider?.synced);
  await made.locator(".cm-content").focus();
  return made;
}

/** The text as the page shows it, without the cursors of others. */
export const shown = (tab) =>
  tab.locator(".cm-content").evaluate((content) => {
    const copy = content.cloneNode(true);
    for (const caret of copy.querySelectorAll(".cm-ySelectionCaret")) caret.remove();
    return [...copy.querySelectorAll(".cm-line")].map((line) => line.textContent).join("\n");
  });

/** The cursors of others that a page shows: whose they are, and the text before them. */
export const carets = (tab) =>
  tab.locator(".cm-content").evaluate((content) =>
    [...content.querySelectorAll(".cm-ySelectionCaret")].map((caret) => {
      const before = document.createRange();
      before.setStart(caret.closest(".cm-line"), 0);
      before.setEndBefore(caret);
      return { name: caret.querySelector(".cm-ySelectionInfo").textContent, before: before.toString() };
    }),
  );

// Chromium for tests: Debian's, or the one `CHROMIUM` names, with a fresh profile that is gone afterwards.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A browser, and what ends it. */
export async function browser() {
  const folder = await mkdtemp(join(tmpdir(), "aepoch-www-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
    viewport: { width: 1440, height: 900 },
  });
  const close = async () => {
    await context.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { context, close };
}

/** A page, and what its console complained of. */
export async function page(context) {
  const complaints = [];
  const made = await context.newPage();
  made.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  made.on("pageerror", (error) => complaints.push(String(error)));
  return { page: made, complaints };
}

// A web site for tests: one page, and the package as `npm install` unpacks it.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Serves the package in `folder`: the site's origin, and what closes it. `instead`: other folders, by what paths begin with. */
export async function site(folder, instead = {}) {
  const page = await readFile(fileURLToPath(new URL("page.html", import.meta.url)));
  const folders = Object.entries({ ...instead, "/aepoch/": folder });
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    if (path === "/") return response.setHeader("content-type", "text/html").end(page);
    // Browsers ask for it by themselves.
    if (path === "/favicon.ico") return response.writeHead(204).end();
    const found = folders.find(([prefix]) => path.startsWith(prefix));
    try {
      const file = await readFile(join(found[1], path.slice(found[0].length)));
      response.setHeader("content-type", TYPES[extname(path)]).end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}

/** How the dashboard is built: into `dist`, which the relay embeds. During `npx vite` a relay on its usual port answers. */

import { defineConfig } from "vite";

const relay = "http://127.0.0.1:4433";

export default defineConfig({
  build: {
    target: "es2022",
    // The relay's policy lets nothing be loaded from `data:` but images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 300,
  },
  worker: { format: "es" },
  server: {
    proxy: {
      "/v1": { target: relay, ws: true, changeOrigin: true, headers: { origin: relay } },
      "/health": { target: relay, changeOrigin: true, headers: { origin: relay } },
      "/metrics": { target: relay, changeOrigin: true, headers: { origin: relay } },
    },
  },
});

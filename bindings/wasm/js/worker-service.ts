/** The module in a Worker, as the Worker sees it. */

import type { Engine } from "./engine.js";
import { isTrap } from "./errors.js";
import { Service, type Message } from "./port.js";
import type { WorkerRoot } from "./worker-place.js";

/** Answers what the page asks. */
export function serve(engine: Engine): void {
  const root: WorkerRoot = {
    open: (options) => engine.open(options),
    onPanic: async (heard) => void engine.onPanic(heard),
  };
  const service = new Service(root, (message) => postMessage(message), {
    failed: (thrown) => isTrap(thrown) && engine.trapped(String(thrown)),
  });
  addEventListener("message", (event: MessageEvent<Message>) => service.hear(event.data));
}

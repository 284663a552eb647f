/** What runs in a Worker, with the engine automerge. */

import * as glue from "../pkg/automerge/aepoch_wasm.js";
import { Engine, type Glue } from "./engine.js";
import { serve } from "./worker-service.js";

const load = async (): Promise<Glue> => {
  await glue.default({ module_or_path: new URL("../pkg/automerge/aepoch_wasm_bg.wasm", import.meta.url) });
  return glue;
};

serve(new Engine(load));

/** What runs in a Worker, with the engine yrs. */

import * as glue from "../pkg/yrs/aepoch_wasm.js";
import { Engine, type Glue } from "./engine.js";
import { serve } from "./worker-service.js";

const load = async (): Promise<Glue> => {
  await glue.default({ module_or_path: new URL("../pkg/yrs/aepoch_wasm_bg.wasm", import.meta.url) });
  return glue;
};

serve(new Engine(load));

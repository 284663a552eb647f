/** What runs in a Worker, with the engine yrs. */

import * as glue from "../pkg/yrs/aepoch_wasm.js";
import { Engine, type Glue } from "./engine.js";
import { serve } from "./worker-service.js";

const load = async (): Promise<Glue> => {
  await glue.default();
  return glue;
};

serve(new Engine(load));

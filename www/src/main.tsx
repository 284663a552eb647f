/** The dashboard: an onlooker among the agents of a swarm, in a page its relay serves. */

import { render } from "preact";
import { watch } from "./metrics.js";
import { begin } from "./session.js";
import { Shell } from "./shell.js";
import "./style.css";

begin();
watch();
const page = document.getElementById("page");
if (page) render(<Shell />, page);

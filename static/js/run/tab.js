/** Every tab without charts of its own: the header stays true, and the tab's parts hear of what is new. */

import { createHeader } from "./header.js";
import { openLive } from "../live.js";
import { startAgeTimer, pageData } from "../page.js";

const { run, since } = pageData("live-data");
const live = openLive();
const header = createHeader(live);
startAgeTimer();
live.follow(run, { keys: [], width: 10, since, onFrame: header.receive, onRefused: header.refused });

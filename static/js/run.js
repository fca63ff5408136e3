/** Every tab without charts of its own: the header stays true, and the tab's parts hear of what is new. */

import { keepHeader } from "./header.js";
import { openLive } from "./live.js";
import { keepAges, pageData } from "./page.js";

const { run, since } = pageData("live-data");
const live = openLive();
const header = keepHeader(live);
keepAges();
live.follow(run, { keys: [], width: 10, since, onFrame: header.receive, onRefused: header.refused });

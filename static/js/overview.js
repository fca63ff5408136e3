/** The overview of a run: the header and the charts. */

import { startBoard } from "./charts/tools.js";
import { keepHeader } from "./header.js";
import { openLive } from "./live.js";
import { keepAges } from "./page.js";

const live = openLive();
startBoard(live, keepHeader(live));
keepAges();

/** The overview of a run: the header and the charts. */

import { startBoard } from "../charts/tools.js";
import { createHeader } from "./header.js";
import { openLive } from "../live.js";
import { startAgeTimer } from "../page.js";

const live = openLive();
startBoard(live, createHeader(live));
startAgeTimer();

/** The Overview tab of a run: the header and the charts. */

import { startBoard } from "../charts/board_tools.js";
import { openLive } from "../live.js";
import { startAgeTimer } from "../page.js";
import { createHeader } from "./header.js";

const live = openLive();
startBoard(live, createHeader(live));
startAgeTimer();

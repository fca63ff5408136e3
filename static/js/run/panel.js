/** A panel that shows one measurement, chosen by its step, and charts over all steps. */

import { startBoard } from "../charts/board_tools.js";
import { openLive } from "../live.js";
import { startAgeTimer } from "../page.js";
import { createHeader } from "./header.js";
import { createScrubber } from "./scrubber.js";

const live = openLive();
startBoard(live, createHeader(live));
startAgeTimer();
createScrubber(/** @type {HTMLElement} */ (document.querySelector("[data-scrubber]")));

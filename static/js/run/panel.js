/** A panel with a measurement that can be chosen by its step, and charts of all of them. */

import { startBoard } from "../charts/tools.js";
import { createHeader } from "./header.js";
import { openLive } from "../live.js";
import { startAgeTimer } from "../page.js";
import { createScrubber } from "./scrubber.js";

const live = openLive();
startBoard(live, createHeader(live));
startAgeTimer();
createScrubber(/** @type {HTMLElement} */ (document.querySelector("[data-scrubber]")));

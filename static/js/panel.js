/** A panel with a measurement that can be chosen by its step, and charts of all of them. */

import { startBoard } from "./charts/tools.js";
import { keepHeader } from "./header.js";
import { openLive } from "./live.js";
import { keepAges } from "./page.js";
import { keepScrubber } from "./scrubber.js";

const live = openLive();
startBoard(live, keepHeader(live));
keepAges();
keepScrubber(/** @type {HTMLElement} */ (document.querySelector("[data-scrubber]")));

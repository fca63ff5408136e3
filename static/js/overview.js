/** The overview of a run: its charts and their common tools. */

import { createBoard } from "./charts/board.js";
import { keepHeader } from "./header.js";
import { openLive } from "./live.js";
import { keepAges, pageData } from "./page.js";

const live = openLive();
const header = keepHeader(live);
const board = createBoard(pageData("board-data"), live, header);
keepAges();

/** @param {string} selector @param {(value: string) => void} act */
function whenChosen(selector, act) {
  const select = /** @type {HTMLSelectElement | null} */ (document.querySelector(selector));
  select?.addEventListener("change", () => act(select.value));
}

whenChosen("[data-axis]", (axis) => board.setAxis(/** @type {import("./charts/chart.js").View["axis"]} */ (axis)));
whenChosen("[data-smoothing]", (weight) => board.setSmoothing(Number(weight)));
document.querySelector("[data-zoom-out]")?.addEventListener("click", () => board.zoom(null, null));
board.load();

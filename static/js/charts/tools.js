/** A page's charts with the tools above them: axis, smoothing, zoom. */

import { pageData } from "../page.js";
import { createBoard } from "./board.js";

/** @param {import("../live.js").Live} live @param {{receive: (frame: import("../live.js").Frame) => void, refused: (message: string) => void}} header */
export function startBoard(live, header) {
  const board = createBoard(pageData("board-data"), live, header);

  /** @param {string} selector @param {(value: string) => void} act */
  function whenChosen(selector, act) {
    const select = /** @type {HTMLSelectElement | null} */ (document.querySelector(selector));
    select?.addEventListener("change", () => act(select.value));
  }

  whenChosen("[data-axis]", (axis) => board.setAxis(/** @type {import("./chart.js").View["axis"]} */ (axis)));
  whenChosen("[data-smoothing]", (weight) => board.setSmoothing(Number(weight)));
  document.querySelector("[data-zoom-out]")?.addEventListener("click", () => board.zoom(null, null));
  board.load();
  return board;
}

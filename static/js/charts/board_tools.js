/** The charts of a page and the controls above them: axis, smoothing, zoom. */

import { pageData } from "../page.js";
import { createBoard } from "./board.js";

/** @param {import("../live.js").Live} live @param {import("./board.js").FrameListener} header */
export function startBoard(live, header) {
  const board = createBoard(pageData("board-data"), live, header);

  /** @param {string} selector @param {(value: string) => void} action */
  function onSelect(selector, action) {
    const select = /** @type {HTMLSelectElement | null} */ (document.querySelector(selector));
    select?.addEventListener("change", () => action(select.value));
  }

  onSelect("[data-axis]", (axis) =>
    board.setAxis(/** @type {import("./chart.js").View["axis"]} */ (axis)),
  );
  onSelect("[data-smoothing]", (weight) => board.setSmoothing(Number(weight)));
  document
    .querySelector("[data-zoom-out]")
    ?.addEventListener("click", () => board.zoom(null, null));
  board.load();
  return board;
}

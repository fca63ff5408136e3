/** The cursor for the keyboard: arrows walk along the curve and speak, + and − zoom, 0 shows everything. */

import { formatter } from "../format.js";
import { describe, lastKnown } from "./legend.js";
import { PER_LINE } from "./columns.js";

/**
 * @typedef {import("../../vendor/uplot/uPlot.esm.js").default} Plot
 * @typedef {{declaration: import("./columns.js").Declaration, figure: HTMLElement, axisFormat: (x: number) => string, zoom: import("./chart.js").Zoom}} Parts
 */

/** @param {HTMLElement} holder @param {Plot} plot @param {Parts} parts */
export function listenToKeys(holder, plot, parts) {
  holder.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (walk(plot, event, parts) || zoomBy(plot, event.key, parts.zoom)) event.preventDefault();
  };
}

/** @param {Plot} plot @param {KeyboardEvent} event @param {Parts} parts @returns {boolean} whether the key meant a move */
function walk(plot, { key, shiftKey }, parts) {
  const xs = plot.data[0];
  const stride = shiftKey ? 10 : 1;
  const last = xs.length - 1;
  const idx = plot.cursor.idx ?? last + 1;
  const target = { ArrowLeft: idx - stride, ArrowRight: idx + stride, Home: 0, End: last }[key];
  if (target === undefined || last < 0) return false;
  const at = Math.max(0, Math.min(last, target));
  plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: plot.over.clientHeight / 2 });
  speak(plot, at, parts);
  return true;
}

/** @param {Plot} plot @param {string} key @param {import("./chart.js").Zoom} zoom @returns {boolean} whether the key meant a zoom */
function zoomBy(plot, key, zoom) {
  if (key === "0") {
    zoom(null, null);
    return true;
  }
  const factor = { "+": 0.5, "=": 0.5, "-": 2 }[key];
  const { min, max } = plot.scales.x;
  if (!factor || min == null || max == null) return false;
  const idx = plot.cursor.idx;
  const centre = idx == null ? (min + max) / 2 : plot.data[0][idx];
  zoom(centre - (centre - min) * factor, centre + (max - centre) * factor);
  return true;
}

/** @param {Plot} plot @param {number} at @param {Parts} parts */
function speak(plot, at, { declaration, figure, axisFormat }) {
  const spoken = figure.querySelector("[data-spoken]");
  if (!spoken) return;
  const data = /** @type {(number | null | undefined)[][]} */ (/** @type {unknown} */ (plot.data));
  const values = declaration.lines.map((line, i) => `${line.label} ${describe(data, i, at, formatter(line.format ?? declaration.format))}${trend(data[1 + i * PER_LINE], at)}`);
  spoken.textContent = `At ${axisFormat(plot.data[0][at])}: ${values.join("; ")}`;
}

/** @param {(number | null | undefined)[]} column @param {number} at @returns {string} */
function trend(column, at) {
  const here = lastKnown(column, at);
  const before = lastKnown(column, here - 1);
  if (before < 0) return "";
  const change = /** @type {number} */ (column[here]) - /** @type {number} */ (column[before]);
  return change > 0 ? ", rising" : change < 0 ? ", falling" : ", level";
}

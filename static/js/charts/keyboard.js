/**
 * The keyboard control of a chart: arrows move the cursor and read its values, + and − zoom, 0
 * resets the zoom.
 */

import { formatter } from "../format.js";
import { describe, lastIndexWithValue } from "./legend.js";
import { PER_LINE } from "./columns.js";

/**
 * @typedef {import("../../vendor/uplot/uPlot.esm.js").default} Plot
 * @typedef {{declaration: import("./columns.js").Declaration, figure: HTMLElement, axisFormat: (x:
 *   number) => string, zoom: import("./chart.js").Zoom, data: () => (number | null)[][]}}
 *   ChartContext
 */

/** @param {HTMLElement} holder @param {Plot} plot @param {ChartContext} context */
export function listenToKeys(holder, plot, context) {
  holder.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moveCursor(plot, event, context) || zoomBy(plot, event.key, context.zoom))
      event.preventDefault();
  };
}

/**
 * @param {Plot} plot
 * @param {KeyboardEvent} event
 * @param {ChartContext} context
 * @returns {boolean} whether the key is a move
 */
function moveCursor(plot, { key, shiftKey }, context) {
  const xs = plot.data[0];
  const stride = shiftKey ? 10 : 1;
  const last = xs.length - 1;
  const idx = plot.cursor.idx ?? last + 1;
  const target = { ArrowLeft: idx - stride, ArrowRight: idx + stride, Home: 0, End: last }[key];
  if (target === undefined || last < 0) return false;
  const index = Math.max(0, Math.min(last, target));
  plot.setCursor({ left: plot.valToPos(xs[index], "x"), top: plot.over.clientHeight / 2 });
  announceValues(plot, index, context);
  return true;
}

/**
 * @param {Plot} plot
 * @param {string} key
 * @param {import("./chart.js").Zoom} zoom
 * @returns {boolean} whether the key is a zoom
 */
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
  const [from, to] = [centre - (centre - min) * factor, centre + (max - centre) * factor];
  if (Number.isFinite(to - from)) zoom(from, to);
  else zoom(null, null);
  return true;
}

/** @param {Plot} plot @param {number} index @param {ChartContext} context */
function announceValues(plot, index, context) {
  const { declaration, figure, axisFormat } = context;
  const spoken = figure.querySelector("[data-spoken]");
  if (!spoken) return;
  const data = context.data();
  const values = declaration.lines.map(
    (line, i) =>
      `${line.label} ${describe(data, i, index, formatter(line.format ?? declaration.format))}${trend(data[1 + i * PER_LINE], index)}`,
  );
  spoken.textContent = `At ${axisFormat(plot.data[0][index])}: ${values.join("; ")}`;
}

/**
 * @param {(number | null | undefined)[]} column
 * @param {number} index
 * @returns {string} compared with the point before
 */
function trend(column, index) {
  const current = lastIndexWithValue(column, index);
  const previous = lastIndexWithValue(column, current - 1);
  if (previous < 0) return "";
  const change = /** @type {number} */ (column[current]) - /** @type {number} */ (column[previous]);
  return change > 0 ? ", rising" : change < 0 ? ", falling" : ", level";
}

/** The legend of a chart: a swatch with the line's dash, its name, and its value at the cursor or else its latest, never a smoothed one. */

import { formatter, plain } from "../format.js";
import { DASHES } from "./palette.js";
import { PER_LINE } from "./columns.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {HTMLElement} list @param {import("./columns.js").Declaration} declaration */
export function createLegend(list, { lines, format }) {
  const place = document.createElement("li");
  const values = lines.map((line, index) => {
    const item = document.createElement("li");
    const value = document.createElement("b");
    item.append(swatch(index), document.createTextNode(line.label + " "), value);
    list.append(item);
    return { item, value };
  });
  list.append(place);
  return {
    /**
     * @param {(number | null | undefined)[][]} data @param {number | null | undefined} idx of the cursor, or null for the latest
     * @param {boolean[]} broken whether a line has values that are no finite numbers @param {(x: number) => string} placeOf x, in words
     */
    show(data, idx, broken, placeOf) {
      place.textContent = idx == null ? "" : placeOf(/** @type {number} */ (data[0][idx]));
      lines.forEach((line, index) => {
        const { item, value } = values[index];
        const empty = lastKnown(data[1 + index * PER_LINE], data[0].length - 1) < 0;
        item.hidden = lines.length > 1 && empty && !broken[index];
        value.textContent = empty && broken[index] ? "no finite value" : describe(data, index, idx, formatter(line.format ?? format));
        if (idx != null) value.append(elsewhere(data, index, idx, placeOf));
      });
    },
  };
}

/**
 * Where a value was measured, if not at the cursor: a series may have few points.
 * @param {(number | null | undefined)[][]} data @param {number} line @param {number} idx @param {(x: number) => string} placeOf
 */
function elsewhere(data, line, idx, placeOf) {
  const at = lastKnown(data[1 + line * PER_LINE], idx);
  const note = document.createElement("span");
  note.className = "elsewhere";
  note.textContent = at >= 0 && at !== idx ? ` (${placeOf(/** @type {number} */ (data[0][at]))})` : "";
  return note;
}

/** @param {(number | null | undefined)[][]} data @param {number} line @param {number | null | undefined} idx @param {(value: number) => string} format */
export function describe(data, line, idx, format = plain) {
  const [drawn, low, high, raw] = data.slice(1 + line * PER_LINE);
  const curve = raw && lastKnown(raw, raw.length - 1) >= 0 ? raw : drawn;
  const at = lastKnown(curve, idx ?? curve.length - 1);
  if (at < 0) return "–";
  const interval = low[at] != null && high[at] != null ? ` (${format(/** @type {number} */ (low[at]))} to ${format(/** @type {number} */ (high[at]))})` : "";
  return format(/** @type {number} */ (curve[at])) + interval;
}

/** @param {(number | null | undefined)[]} column @param {number} idx @returns {number} the last index up to `idx` that has a value, or -1 */
export function lastKnown(column, idx) {
  while (idx >= 0 && column[idx] == null) idx -= 1;
  return idx;
}

/** @param {number} index */
function swatch(index) {
  const svg = document.createElementNS(SVG, "svg");
  const stroke = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({ width: "22", height: "8", "aria-hidden": "true", class: `swatch series-${index + 1}` })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: "0", x2: "22", y1: "4", y2: "4", "stroke-dasharray": DASHES[index].join(" ") || "none" })) stroke.setAttribute(name, value);
  svg.append(stroke);
  return svg;
}

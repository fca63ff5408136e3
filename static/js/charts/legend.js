/**
 * The legend of a chart: a swatch with the line's dash, its name, and its unsmoothed value at the
 * cursor, or its latest one.
 *
 * Its height does not depend on the values, so that moving the cursor never moves the page: each
 * item has a cell of a fixed size, and a long name is shortened while a value is long.
 */

import { formatter, plain } from "../format.js";
import { DASHES, dashes } from "./palette.js";
import { PER_LINE } from "./columns.js";

const SVG = "http://www.w3.org/2000/svg";
/** Characters of a name that shares its row with another one. */
const SHORT_NAME = 14;

/**
 * @param {HTMLElement} list
 * @param {import("./columns.js").Declaration} declaration
 * @param {((index: number, only: boolean) => void) | undefined} toggle if given, each name is a
 *   button that shows or hides its line; with the shift key it shows that line only
 */
export function createLegend(list, { lines, format }, toggle) {
  const position = document.createElement("li");
  const values = lines.map((line, index) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const value = document.createElement("b");
    name.className = "name";
    name.title = name.textContent = line.label;
    const isWide = lines.length === 1 || Boolean(line.low) || line.label.length > SHORT_NAME;
    item.classList.toggle("wide", isWide);
    item.hidden = lines.length > 1;
    const button = toggle ? toggleButton(line.label, (only) => toggle(index, only)) : null;
    button?.append(swatch(line.tint ?? index), name);
    item.append(...(button ? [button] : [swatch(line.tint ?? index), name]), value);
    list.append(item);
    return { item, value, button };
  });
  list.classList.toggle("toggles", toggle !== undefined);
  list.append(position);
  return {
    /** @param {Set<number>} hidden numbers of lines */
    setHidden(hidden) {
      values.forEach(({ item, button }, index) => {
        item.classList.toggle("is-off", hidden.has(index));
        button?.setAttribute("aria-pressed", String(!hidden.has(index)));
      });
    },
    /**
     * @param {(number | null | undefined)[][]} data
     * @param {number | null | undefined} idx of the cursor, or null for the latest
     * @param {boolean[]} hasBroken whether a line has values that are not finite numbers
     * @param {(x: number) => string} positionText x as text
     */
    show(data, idx, hasBroken, positionText) {
      position.textContent = idx == null ? "" : positionText(/** @type {number} */ (data[0][idx]));
      lines.forEach((line, index) => {
        const { item, value } = values[index];
        const empty = lastIndexWithValue(data[1 + index * PER_LINE], data[0].length - 1) < 0;
        // Once shown it stays, also where a zoom shows none of its values.
        if (!empty || hasBroken[index]) item.hidden = false;
        value.textContent =
          empty && hasBroken[index]
            ? "no finite value"
            : describe(data, index, idx, formatter(line.format ?? format));
        if (idx != null) value.append(positionNote(data, index, idx, positionText));
      });
    },
  };
}

/**
 * The position of a value that was not measured at the cursor: a series may have few points.
 * @param {(number | null | undefined)[][]} data
 * @param {number} line
 * @param {number} idx
 * @param {(x: number) => string} positionText
 */
function positionNote(data, line, idx, positionText) {
  const index = lastIndexWithValue(data[1 + line * PER_LINE], idx);
  const note = document.createElement("span");
  note.className = "elsewhere";
  note.textContent =
    index >= 0 && index !== idx ? ` (${positionText(/** @type {number} */ (data[0][index]))})` : "";
  return note;
}

/**
 * The value of a line as text, with its interval.
 * @param {(number | null | undefined)[][]} data
 * @param {number} line
 * @param {number | null | undefined} idx
 * @param {(value: number) => string} format
 */
export function describe(data, line, idx, format = plain) {
  const [smoothed, low, high, raw] = data.slice(1 + line * PER_LINE);
  const curve = raw && lastIndexWithValue(raw, raw.length - 1) >= 0 ? raw : smoothed;
  const index = lastIndexWithValue(curve, idx ?? curve.length - 1);
  if (index < 0) return "–";
  const interval =
    low[index] != null && high[index] != null
      ? ` (${format(/** @type {number} */ (low[index]))} to ${format(/** @type {number} */ (high[index]))})`
      : "";
  return format(/** @type {number} */ (curve[index])) + interval;
}

/**
 * @param {(number | null | undefined)[]} column
 * @param {number} idx
 * @returns {number} the last index up to `idx` that has a value, or -1
 */
export function lastIndexWithValue(column, idx) {
  while (idx >= 0 && column[idx] == null) idx -= 1;
  return idx;
}

/** @param {string} label @param {(only: boolean) => void} action */
function toggleButton(label, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "true");
  button.title = `${label}. Click to hide or show it, with the shift key to show only this one.`;
  button.addEventListener("click", (event) => action(event.shiftKey));
  return button;
}

/** @param {number} index */
function swatch(index) {
  const svg = document.createElementNS(SVG, "svg");
  const stroke = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({
    width: "22",
    height: "8",
    "aria-hidden": "true",
    class: `swatch series-${(index % DASHES.length) + 1}`,
  }))
    svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({
    x1: "0",
    x2: "22",
    y1: "4",
    y2: "4",
    "stroke-dasharray": dashes(index).join(" ") || "none",
  }))
    stroke.setAttribute(name, value);
  svg.append(stroke);
  return svg;
}

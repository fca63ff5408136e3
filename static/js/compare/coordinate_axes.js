/**
 * The axes of parallel coordinates: where a value is on its axis, from 0 at the bottom to 1 at the
 * top, and which runs are in the ranges that are marked on them.
 */

import { formatter } from "../format.js";
import { linearTicks, logTicks, tickLabels } from "../charts/scales.js";

/**
 * @typedef {{key: string, name: string, kind: "setting" | "result", scale: "linear" | "log" |
 *   "text", format: import("../format.js").Format, categories?: string[], values: (number |
 *   null)[]}} Axis
 * A value for each run: a number, the index of a category, or null where the run has none.
 * @typedef {{low: number | null, high: number | null}} Range null for an open end
 * @typedef {Map<string, Range>} Ranges by the keys of their axes
 */

/** About as many ticks on an axis. */
const TICKS = 4;
/** Labels of categories that fit on an axis. */
const MOST_LABELS = 12;
/** Least distance between a round tick and the ends of an axis. */
const END_SPACE = 0.09;
/** Significant digits of a marked end in the address. */
const DIGITS = 4;

/** @param {Axis} axis @returns {[number, number]} the least and the greatest value */
export function endsOf({ values, categories }) {
  if (categories) return [0, categories.length - 1];
  const present = values.filter((value) => value !== null);
  return present.length ? [Math.min(...present), Math.max(...present)] : [0, 0];
}

/** @param {Axis} axis @param {number} value @returns {number} */
export function shareOf(axis, value) {
  const [low, high] = endsOf(axis);
  if (low === high) return 0.5;
  if (axis.scale === "log") return Math.log(value / low) / Math.log(high / low);
  // Halves, because the difference of two large numbers may be infinite.
  return (value / 2 - low / 2) / (high / 2 - low / 2);
}

/** @param {Axis} axis @param {number} share @returns {number} the value at a share of the axis */
export function valueAt(axis, share) {
  const [low, high] = endsOf(axis);
  if (axis.scale === "log") return low * (high / low) ** share;
  return low * (1 - share) + high * share;
}

/** @param {Axis} axis @param {number | null} value @returns {string} */
export function textOf(axis, value) {
  if (value === null) return axis.kind === "setting" ? "not set" : "no value";
  if (axis.categories) return axis.categories[Math.round(value)];
  return axis.kind === "setting"
    ? String(Number(value.toPrecision(6)))
    : formatter(axis.format)(value);
}

/** @param {Axis} axis @returns {{share: number, label: string}[]} from the bottom to the top */
export function ticksOf(axis) {
  const [low, high] = endsOf(axis);
  if (axis.categories) {
    const every = Math.ceil(axis.categories.length / MOST_LABELS);
    return axis.categories
      .map((label, i) => ({ share: shareOf(axis, i), label }))
      .filter((_, i) => i % every === 0);
  }
  if (!axis.values.some((value) => value !== null)) return [];
  const end = (/** @type {number} */ value) => ({
    share: shareOf(axis, value),
    label: textOf(axis, value),
  });
  if (low === high) return [end(low)];
  const round = (axis.scale === "log" ? logTicks : linearTicks)(low, high, TICKS, axis.format);
  const labels = tickLabels(round, axis.format, axis.scale === "log");
  const inner = round
    .map((value, i) => ({ share: shareOf(axis, value), label: labels[i] }))
    .filter(({ share }) => share > END_SPACE && share < 1 - END_SPACE);
  return [end(low), ...inner, end(high)];
}

/**
 * @param {Axis[]} axes
 * @param {Ranges} ranges
 * @param {number} run its index
 * @returns {boolean} whether it is in all ranges; one without a value is in none
 */
export function isInside(axes, ranges, run) {
  return axes.every((axis) => {
    const range = ranges.get(axis.key);
    if (!range) return true;
    const value = axis.values[run];
    if (value === null) return false;
    return (range.low ?? -Infinity) <= value && value <= (range.high ?? Infinity);
  });
}

/**
 * The range between two shares of an axis; an end of the axis is open, so that no value is outside
 * by rounding.
 * @param {Axis} axis
 * @param {number} first
 * @param {number} second
 * @returns {Range | null} null if it is the whole axis
 */
export function rangeBetween(axis, first, second) {
  const low = Math.max(0, Math.min(first, second));
  const high = Math.min(1, Math.max(first, second));
  if (low <= 0 && high >= 1) return null;
  // Categories are in or out.
  const value = (/** @type {number} */ share, /** @type {(x: number) => number} */ whole) =>
    axis.categories
      ? whole(valueAt(axis, share))
      : Number(valueAt(axis, share).toPrecision(DIGITS));
  return {
    low: low <= 0 ? null : value(low, Math.ceil),
    high: high >= 1 ? null : value(high, Math.floor),
  };
}

/** @param {string[]} lines `low:high:key` @returns {Ranges} */
export function readRanges(lines) {
  /** @type {Ranges} */
  const ranges = new Map();
  for (const line of lines) {
    const [, low, high, key] = /^([^:]*):([^:]*):(.+)$/s.exec(line) ?? [];
    if (key) ranges.set(key, { low: numberIn(low), high: numberIn(high) });
  }
  return ranges;
}

/** @param {Ranges} ranges @returns {string} as `readRanges` takes them, a line each */
export function writeRanges(ranges) {
  return [...ranges].map(([key, { low, high }]) => `${low ?? ""}:${high ?? ""}:${key}`).join("\n");
}

/** @param {Axis} axis @param {Range} range @returns {string} */
export function rangeText(axis, range) {
  const [low, high] = endsOf(axis);
  return `${textOf(axis, range.low ?? low)} to ${textOf(axis, range.high ?? high)}`;
}

/** @param {string} text @returns {number | null} */
function numberIn(text) {
  const number = Number(text);
  return text && Number.isFinite(number) ? number : null;
}

/**
 * Ranges and ticks of the axes of a chart, for any finite values: from the smallest that a float
 * can hold to the largest, on linear and logarithmic axes.
 */

import { tick } from "../format.js";

/** @typedef {import("../format.js").Format} Format */
/** @typedef {[number, number]} Range */

const { MAX_VALUE, MIN_VALUE } = Number;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
/** Distances between ticks on an axis of seconds, from a second to a day. */
const SECONDS = [
  ...[1, 2, 5, 10, 15, 30].flatMap((count) => [count, count * MINUTE]),
  ...[1, 2, 3, 6, 12, 24].map((count) => count * HOUR),
].sort((a, b) => a - b);
/** Distances between labelled powers of ten. */
const DECADES = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300];

/**
 * The range of values on a linear axis with a margin; zero is its end where it is close.
 * @param {number | null} low
 * @param {number | null} high
 * @returns {Range}
 */
export function paddedRange(low, high) {
  if (low == null || high == null) return [0, 1];
  if (isLevel(low, high)) {
    const margin = Math.abs(low) / 2 || 0.05;
    return finite(low && low - margin, high + margin);
  }
  // Half of each, because the difference of two large numbers may be infinite.
  const margin = 0.1 * (high / 2 - low / 2) * 2;
  const from = low >= 0 && low - margin < 0 ? 0 : low - margin;
  const to = high <= 0 && high + margin > 0 ? 0 : high + margin;
  return finite(from, to);
}

/**
 * The range of positive values on a logarithmic axis, with a margin of a twentieth of its length.
 * @param {number | null} low
 * @param {number | null} high
 * @returns {Range}
 */
export function logRange(low, high) {
  if (low == null || high == null) return [0.1, 10];
  const margin = isLevel(low, high) ? 0.3 : 0.05 * (Math.log10(high) - Math.log10(low));
  // Close to the ends of the floats the margin may be lost.
  const from = Math.min(low, Math.max(MIN_VALUE, 10 ** (Math.log10(low) - margin)));
  const to = Math.max(high, Math.min(MAX_VALUE, 10 ** (Math.log10(high) + margin)));
  return [from, to > from ? to : 2 * from];
}

/**
 * The x range of a chart: that of all charts, so that they can be compared, unless the chart's own
 * values would be a small part of it, as where another series has a point at a far step.
 * @param {Range | null} common
 * @param {Range | null} own
 * @returns {Range}
 */
export function xRange(common, own) {
  if (!common) return [0, 1];
  const length = (/** @type {Range} */ [from, to]) => to - from;
  const isSmallPart = own && length(own) > 0 && length(own) < length(common) / 20;
  return isSmallPart ? own : common;
}

/**
 * Round values at which a linear axis has its ticks.
 * @param {number} low
 * @param {number} high
 * @param {number} most about as many ticks
 * @param {Format} format
 * @returns {number[]} ascending
 */
export function linearTicks(low, high, most, format) {
  const step = stepOf(high / most - low / most || MIN_VALUE, format);
  const ticks = [];
  // A quotient beyond the whole numbers of floats has no ticks between its neighbours.
  const first = Math.ceil(low / step);
  const last = Math.min(Math.floor(high / step), first + 2 * most + 2);
  for (let count = first; count <= last; count += 1) {
    const value = count * step;
    if (!ticks.length || value > ticks[ticks.length - 1]) ticks.push(value);
    if (count + 1 === count) break;
  }
  return ticks;
}

/**
 * Values at which a logarithmic axis has its ticks: powers of ten, between them twice and five
 * times a power where these are few, and round values where even these are.
 * @param {number} low above 0
 * @param {number} high
 * @param {number} most about as many ticks
 * @param {Format} format
 * @returns {number[]} ascending
 */
export function logTicks(low, high, most, format) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const decades = last - first;
  const every = DECADES.find((distance) => decades / distance <= most) ?? decades;
  const ticksOf = (/** @type {number[]} */ digits) => {
    const ticks = [];
    for (let power = Math.ceil(first / every) * every; power <= last; power += every)
      // Not a product: of small powers that would not be the nearest number.
      for (const digit of digits) ticks.push(Number(`${digit}e${power}`));
    return ticks.filter((value) => value >= low && value <= high && value > 0);
  };
  const fine = every === 1 ? ticksOf([1, 2, 5]) : [];
  const ticks = fine.length && fine.length <= most ? fine : ticksOf([1]);
  const isEnough = ticks.length > 2 || (ticks.length === 2 && high / low >= 10);
  return isEnough ? ticks : linearTicks(low, high, most, format);
}

/**
 * Labels of ticks, each with as many digits as tell it from its neighbours.
 * @param {number[]} values ascending
 * @param {Format} format
 * @param {boolean} [log]
 * @returns {string[]}
 */
export function tickLabels(values, format, log = false) {
  const hasOneDigit = log && values.every((value) => /^[125]e/.test(value.toExponential()));
  return values.map((value, i) => {
    const gaps = [value - values[i - 1], values[i + 1] - value].filter((gap) => gap > 0);
    const distance = gaps.length ? Math.min(...gaps) : Math.abs(value) || 1;
    return tick(value, hasOneDigit ? value : distance, format);
  });
}

/**
 * The smallest round number that is not below `least`.
 * @param {number} least
 * @param {Format} format
 * @returns {number}
 */
function stepOf(least, format) {
  if (format === "bytes") return Math.max(1, 2 ** Math.ceil(Math.log2(least)));
  if (format === "step" && least <= 1) return 1;
  if (format === "seconds" && least > 1) {
    const step = SECONDS.find((seconds) => seconds >= least);
    return step ?? DAY * decimalStep(least / DAY);
  }
  return decimalStep(least);
}

/** @param {number} least @returns {number} 1, 2 or 5 times a power of ten */
function decimalStep(least) {
  const power = Math.floor(Math.log10(least));
  const steps = [1, 2, 5, 10, 20].map((digit) => Number(`${digit}e${power}`));
  return steps.find((step) => step >= least && step > 0) ?? steps[steps.length - 1];
}

/**
 * @param {number} low
 * @param {number} high
 * @returns {boolean} whether the two differ by no more than sums of floats do
 */
function isLevel(low, high) {
  return high - low <= 2e-14 * Math.max(Math.abs(low), Math.abs(high));
}

/** @param {number} from @param {number} to @returns {Range} with a finite length */
function finite(from, to) {
  const limit = Number.isFinite(to - from) ? MAX_VALUE : MAX_VALUE / 2;
  return [Math.max(from, -limit), Math.min(to, limit)];
}

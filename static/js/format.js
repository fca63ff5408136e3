/** Formats numbers for people, in the same way as the server (webapp/base/number_text.py). */

const MINUS = "−";

/** @typedef {"plain" | "percent" | "bytes" | "count" | "seconds" | "step"} Format */

/**
 * @param {number} value
 * @returns {string} three significant digits, powers of ten only where needed
 */
export function plain(value) {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6)
    return value.toExponential(2).replace("-", MINUS).replace("e+", "e");
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace("-", MINUS);
}

/** @param {number} value a share @returns {string} */
export function percent(value) {
  return `${(100 * value).toFixed(1).replace("-", MINUS)} %`;
}

/** The least value that is written with a unit, largest first. @type {[number, string][]} */
const COUNTS = [
  [1e18, "E"],
  [1e15, "P"],
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e4, "k"],
];
/** @type {[number, string][]} */
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"].map((unit, power) => [1024 ** power, unit]);

/** @param {number} value @returns {string} 12 345 as 12.3k */
export function count(value) {
  const size = Math.abs(value);
  for (const [limit, unit] of COUNTS) {
    if (size >= limit) return `${(value / (unit === "k" ? 1e3 : limit)).toFixed(1)}${unit}`;
  }
  return Number.isInteger(value) ? value.toLocaleString("en-GB") : plain(value);
}

/** @param {number} value @returns {string} */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, value > 0 ? Math.floor(Math.log2(value) / 10) : 0);
  return `${(value / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

/** @param {number} value @returns {string} the two largest units */
export function seconds(value) {
  if (value < 1) return `${plain(value)} s`;
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  const minutes = Math.round(value / 60);
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  if (minutes < 60 * 48) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

const FORMATS = { plain, percent, bytes, count, seconds, step: count };

/** Sizes of units of time, largest first. @type {[number, string][]} */
const TIMES = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
];

/**
 * A tick label with just enough digits to tell neighbouring ticks apart.
 * @param {number} value
 * @param {number} distance between two ticks
 * @param {Format} format
 * @returns {string}
 */
export function tick(value, distance, format) {
  if (value < 0) return MINUS + tick(-value, distance, format);
  if (format === "percent" && value < 1e15) return `${decimals(100 * value, 100 * distance)} %`;
  if (format === "bytes") {
    const [size, unit] = BYTES.findLast(([limit]) => value >= limit) ?? [1, "B"];
    return `${decimals(value / size, distance / size, true)} ${unit}`;
  }
  if (format === "seconds") return timeTick(value, distance);
  if (value >= 1e4 && value < 1e21) {
    const [size, unit] = COUNTS.find(([limit]) => value >= limit) ?? [1, ""];
    const unitSize = unit === "k" ? 1e3 : size;
    return decimals(value / unitSize, distance / unitSize) + unit;
  }
  if (value > 0 && value < 1e-3) return exponential(value, distance);
  return decimals(value, distance);
}

/** @param {number} value @param {number} distance @returns {string} as many units as differ */
function timeTick(value, distance) {
  if (value < 60) return `${decimals(value, distance)} s`;
  if (value >= 1e9) return `${decimals(value / 86400, distance / 86400)} d`;
  const parts = [];
  let rest = value;
  for (const [size, unit] of TIMES) {
    // Half a second may be missing from a whole unit, because floats are not exact.
    const count = Math.floor(rest / size + 1e-9);
    if (count) parts.push(`${count} ${unit}`);
    rest -= count * size;
    if (distance >= size) return parts.join(" ");
  }
  const seconds = decimals(Math.max(0, rest), distance);
  return [...parts, ...(seconds === "0" ? [] : [`${seconds} s`])].join(" ");
}

/** @param {number} value @returns {number} the power of ten of its first digit */
function magnitude(value) {
  return Math.floor(Math.log10(Math.abs(value)) + 1e-9);
}

/** @param {number} distance above 0 @returns {number} the power of ten of its last digit */
function lastDigit(distance) {
  const power = magnitude(distance);
  const isWhole = (/** @type {number} */ digits) =>
    Math.abs(digits - Math.round(digits)) < 1e-6 * digits;
  // Distances are 1, 2, 2.5 or 5 times a power of ten; others get two digits.
  return isWhole(distance / 10 ** power) ? power : power - 1;
}

/**
 * @param {number} value
 * @param {number} distance
 * @param {boolean} [rounded] only the digits that differ, as of binary fractions
 * @returns {string}
 */
function decimals(value, distance, rounded = false) {
  if (value >= 1e21 || (value > 0 && value < 1e-6)) return exponential(value, distance);
  const last = distance > 0 ? (rounded ? magnitude(distance) : lastDigit(distance)) : 0;
  const text = value.toFixed(Math.max(0, Math.min(-last, 20)));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** @param {number} value above 0 @param {number} distance @returns {string} */
function exponential(value, distance) {
  const digits = Math.max(0, Math.min(magnitude(value) - lastDigit(distance), 20));
  const [fixed, shortest] = [value.toExponential(digits), value.toExponential()];
  // The shortest text that is this very number: 1e-323 is no product of its digits and a power.
  return (shortest.length <= fixed.length ? shortest : fixed)
    .replace(/\.?0+e/, "e")
    .replace("e+", "e")
    .replaceAll("-", MINUS);
}

/** @param {Format} format @returns {(value: number) => string} */
export function formatter(format) {
  return FORMATS[format] ?? plain;
}

/**
 * @param {number} share a difference between two shares
 * @returns {string} signed percentage points
 */
export function points(share) {
  return `${share >= 0 ? "+" : MINUS}${Math.abs(100 * share).toFixed(1)}`;
}

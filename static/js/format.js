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

/** @param {number} value @returns {string} 12 345 as 12.3k */
export function count(value) {
  const size = Math.abs(value);
  for (const [limit, unit] of /** @type {[number, string][]} */ ([
    [1e18, "E"],
    [1e15, "P"],
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ])) {
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

/**
 * A tick label with just enough decimals to tell neighbouring ticks apart.
 * @param {number} value
 * @param {number} distance between two ticks
 * @param {Format} format
 * @returns {string}
 */
export function tick(value, distance, format) {
  if (format === "percent") return `${decimals(100 * value, 100 * distance)} %`;
  if (format === "bytes") return bytes(value).replace(/\.\d+ (MiB|KiB)/, " $1");
  if (format === "seconds")
    return value < 60
      ? `${decimals(value, distance)} s`
      : seconds(value).replace(/ 0 (s|min|h)$/, "");
  if (Math.abs(value) >= 1e4) return count(value).replace(".0", "");
  if (value === 0 || Math.abs(value) >= 1e-3) return decimals(value, distance);
  return value
    .toExponential(Math.max(0, magnitude(value) - magnitude(distance)))
    .replaceAll("-", MINUS);
}

/** @param {number} value @returns {number} the power of ten of its first digit */
function magnitude(value) {
  return Math.floor(Math.log10(Math.abs(value)) + 1e-9);
}

/** @param {number} value @param {number} distance */
function decimals(value, distance) {
  const digits = distance > 0 ? Math.ceil(-Math.log10(distance) - 1e-9) : 0;
  return String(
    Number(
      value.toFixed(
        Math.max(0, Math.min(digits + ((distance * 10 ** Math.max(0, digits)) % 1 ? 1 : 0), 6)),
      ),
    ),
  ).replace("-", MINUS);
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

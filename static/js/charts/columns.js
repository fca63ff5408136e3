/**
 * The data columns of a chart: for every line its curve, its band and, if smoothed, the raw curve
 * behind it.
 */

import { align, emptySeries, hasBuckets, smooth } from "./series.js";

/**
 * @typedef {import("./series.js").Series} Series
 * @typedef {{key: string, label: string, low?: string, high?: string, right?: boolean, format?:
 *   import("../format.js").Format, baseline?: boolean, schedule?: boolean, tint?: number, thin?: boolean, of?: string[]}} Line
 *   `tint`: number of its colour and dashes, if not its place; `thin`: drawn behind the others;
 *   `of`: keys of the series that the line summarises
 * @typedef {{id: string, title: string, unit: string, format: import("../format.js").Format, lines:
 *   Line[], log: boolean, empty: string, stacked?: boolean}} Declaration
 *   `stacked`: the lines are parts of a whole, drawn on top of each other
 */

/** Columns per line: curve, low, high, raw. */
export const PER_LINE = 4;

/** @param {Line[]} lines @returns {string[]} every key that the lines need */
export function keysOf(lines) {
  return lines.flatMap(({ key, low, high }) =>
    [key, low, high].filter((name) => name !== undefined),
  );
}

/**
 * @param {Line[]} lines
 * @param {Map<string, Series>} store
 * @param {number} smoothing
 * @returns {(number | null)[][]}
 */
export function columnsOf(lines, store, smoothing) {
  return align(lines.flatMap((line) => columnsOfLine(line, store, smoothing)));
}

/** @param {Line} line @param {Map<string, Series>} store @param {number} smoothing */
function columnsOfLine(line, store, smoothing) {
  const series = store.get(line.key) ?? emptySeries();
  // A measurement with an interval is not smoothed: the interval belongs to this very value. Nor is
  // a schedule, which is exact.
  const smoothed = smoothing && !line.low && !line.schedule;
  return [
    { x: series.x, columns: [smoothed ? smooth(series.mean, smoothing) : series.mean] },
    ...bandOf(line, series, store),
    { x: series.x, columns: [smoothed ? series.mean : []] },
  ];
}

/**
 * The band around a line: its interval, or else the minimum and maximum of each bucket.
 * @param {Line} line
 * @param {Series} series
 * @param {Map<string, Series>} store
 */
function bandOf(line, series, store) {
  if (line.low && line.high) {
    return [line.low, line.high].map((key) => {
      const edge = store.get(key) ?? emptySeries();
      return { x: edge.x, columns: [edge.mean] };
    });
  }
  const isBand = hasBuckets(series);
  return [series.min, series.max].map((column) => ({
    x: series.x,
    columns: [isBand ? column : []],
  }));
}

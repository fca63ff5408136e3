/** What a chart draws: for every line its curve, its band and, when smoothed, the raw curve behind it. */

import { align, emptySeries, smooth } from "./series.js";

/**
 * @typedef {import("./series.js").Series} Series
 * @typedef {{key: string, label: string, low?: string, high?: string, right?: boolean, format?: import("../format.js").Format, baseline?: boolean}} Line
 * @typedef {{id: string, title: string, unit: string, format: import("../format.js").Format, lines: Line[], log: boolean, empty: string}} Declaration
 */

/** Columns per line: curve, low, high, raw. */
export const PER_LINE = 4;

/** @param {Line[]} lines @returns {string[]} every key that the lines need */
export function keysOf(lines) {
  return lines.flatMap(({ key, low, high }) => [key, low, high].filter((name) => name !== undefined));
}

/** @param {Line[]} lines @param {Map<string, Series>} store @param {number} smoothing @returns {(number | null)[][]} */
export function columnsOf(lines, store, smoothing) {
  return align(lines.flatMap((line) => partsOf(line, store, smoothing)));
}

/** @param {Line} line @param {Map<string, Series>} store @param {number} smoothing */
function partsOf(line, store, smoothing) {
  const series = store.get(line.key) ?? emptySeries();
  const smoothed = smoothing && !line.low; // a measurement with an interval stands for itself
  return [
    { x: series.x, columns: [smoothed ? smooth(series.mean, smoothing) : series.mean] },
    ...edgesOf(line, series, store),
    { x: series.x, columns: [smoothed ? series.mean : []] },
  ];
}

/** The band: an interval where the line has one, else what the buckets hide. @param {Line} line @param {Series} series @param {Map<string, Series>} store */
function edgesOf(line, series, store) {
  if (line.low && line.high) {
    return [line.low, line.high].map((key) => {
      const edge = store.get(key) ?? emptySeries();
      return { x: edge.x, columns: [edge.mean] };
    });
  }
  const bucketed = series.count > series.points;
  return [series.min, series.max].map((column) => ({ x: series.x, columns: [bucketed ? column : []] }));
}

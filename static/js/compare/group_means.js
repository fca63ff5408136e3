/**
 * The mean of the runs of a group at each x, with an interval: Student's 95 % interval over the runs,
 * or their minimum and maximum where a group has fewer than three.
 *
 * The runs are compared in cells of x: as wide as the usual distance between points of the run that
 * has the fewest, and with a point at every x that the runs share if they have the same distances. A
 * run counts in a cell by the mean of its points there.
 */

import { emptySeries, smooth } from "../charts/series.js";

/**
 * @typedef {import("../charts/series.js").Series} Series
 * @typedef {{mean: Series, low: Series, high: Series}} GroupSeries
 */

/** Runs from which on the interval is Student's. */
export const FEWEST_FOR_INTERVAL = 3;

/**
 * @param {Series[]} runs those that have values
 * @param {number} size of the group, which decides what the interval is
 * @param {number} smoothing of the runs, before they are averaged
 * @param {number[]} quantiles Student's t at 97.5 %, by degrees of freedom; that of 0 is not used
 * @returns {GroupSeries} a point where at least two runs have one; those of the only run with values
 */
export function groupSeries(runs, size, smoothing, quantiles) {
  const width = Math.max(...runs.map(usualDistance), 0);
  /** @type {Map<number, Cell>} */
  const cells = new Map();
  runs.forEach((series, run) => {
    const values = smoothing ? smooth(series.mean, smoothing) : series.mean;
    series.x.forEach((x, i) => {
      const position = width ? Math.round(x / width) : 0;
      let cell = cells.get(position);
      if (!cell) cells.set(position, (cell = { x: 0, points: 0, runs: new Map() }));
      const sum = cell.runs.get(run) ?? { sum: 0, count: 0 };
      cell.x += x;
      cell.points += 1;
      cell.runs.set(run, { sum: sum.sum + values[i], count: sum.count + 1 });
    });
  });
  const group = { mean: emptySeries(), low: emptySeries(), high: emptySeries() };
  const isInterval = size >= FEWEST_FOR_INTERVAL;
  // The others of the group may just not have begun.
  const fewest = Math.min(runs.length, 2);
  for (const [, cell] of [...cells].sort(([a], [b]) => a - b)) {
    const values = [...cell.runs.values()].map(({ sum, count }) => sum / count);
    if (values.length < fewest) continue;
    const x = cell.x / cell.points;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    add(group.mean, x, mean);
    if (values.length < 2) continue;
    if (!isInterval) {
      add(group.low, x, Math.min(...values));
      add(group.high, x, Math.max(...values));
    } else if (values.length >= FEWEST_FOR_INTERVAL) {
      const half = halfWidth(values, mean, quantiles);
      add(group.low, x, mean - half);
      add(group.high, x, mean + half);
    }
  }
  group.mean.broken = [...new Set(runs.flatMap(({ broken }) => broken))].sort((a, b) => a - b);
  return group;
}

/**
 * @typedef {{x: number, points: number, runs: Map<number, {sum: number, count: number}>}} Cell the
 *   sum of x and the number of the points in it, and the values of each run
 */

/** @param {number[]} values @param {number} mean @param {number[]} quantiles */
function halfWidth(values, mean, quantiles) {
  const degrees = values.length - 1;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return quantiles[degrees] * Math.sqrt(squares / degrees / values.length);
}

/** @param {Series} series @returns {number} the median distance of its points */
function usualDistance({ x }) {
  const distances = x.slice(1).map((value, i) => value - x[i]);
  return distances.sort((a, b) => a - b)[distances.length >> 1] ?? 0;
}

/** @param {Series} series @param {number} x @param {number} value */
function add(series, x, value) {
  if (!Number.isFinite(value)) return;
  series.x.push(x);
  for (const column of [series.mean, series.min, series.max]) column.push(value);
  series.count += 1;
  series.points += 1;
}

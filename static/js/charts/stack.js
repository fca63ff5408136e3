/** Stacked charts: each line is drawn on top of the lines before it, and the area between is filled. */

import { PER_LINE } from "./columns.js";

/** @typedef {(number | null)[]} Column */

/**
 * The columns of a stacked chart: each line's curve is the sum of its own values and of those of
 * the lines before it. A missing value counts as nothing where another line has one. Bands and raw
 * curves are left out, because they belong to the single lines.
 * @param {Column[]} columns x, then PER_LINE columns for each line
 * @returns {Column[]}
 */
export function stacked([x, ...columns]) {
  /** @type {Column} */
  const sum = x.map(() => null);
  return [
    x,
    ...columns.map((column, i) => {
      if (i % PER_LINE) return column.map(() => null);
      column.forEach((value, row) => {
        if (value != null) sum[row] = (sum[row] ?? 0) + value;
      });
      return [...sum];
    }),
  ];
}

/**
 * The areas between each curve and the one below it; the first one's area reaches to 0 and is the
 * `fill` of its series.
 * @param {number} lines
 * @param {(index: number) => string} fill of a line
 * @returns {import("uplot").Band[]}
 */
export function areas(lines, fill) {
  return Array.from({ length: Math.max(0, lines - 1) }, (_, i) => ({
    series: [1 + (i + 1) * PER_LINE, 1 + i * PER_LINE],
    fill: () => fill(i + 1),
  }));
}

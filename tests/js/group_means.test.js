/** Means of groups of runs and their intervals. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { emptySeries, merge } from "../../static/js/charts/series.js";
import { groupSeries } from "../../static/js/compare/group_means.js";

/** Student's t at 97.5 % of 1, 2 and 3 degrees of freedom, from a table. */
const QUANTILES = [0, 12.7062, 4.30265, 3.18245];

/** @param {number[]} xs @param {(number | string)[]} ys */
function seriesOf(xs, ys) {
  const series = emptySeries();
  merge(series, xs, /** @type {any} */ (ys));
  return series;
}

test("three runs have their mean and Student's interval at each x", () => {
  const runs = [1, 2, 6].map((y) => seriesOf([10, 20], [y, 0]));
  const { mean, low, high } = groupSeries(runs, 3, 0, QUANTILES);
  assert.deepEqual(mean.x, [10, 20]);
  assert.deepEqual(mean.mean, [3, 0]);
  // s = √7, so that half of the interval is 4.30265 · √(7 / 3).
  assert.ok(Math.abs(high.mean[0] - (3 + 6.57243)) < 1e-4);
  assert.ok(Math.abs(low.mean[0] - (3 - 6.57243)) < 1e-4);
  assert.equal(high.mean[1], 0);
});

test("two runs have their minimum and maximum", () => {
  const { mean, low, high } = groupSeries(
    [1, 5].map((y) => seriesOf([1], [y])),
    2,
    0,
    QUANTILES,
  );
  assert.deepEqual([mean.mean, low.mean, high.mean], [[3], [1], [5]]);
});

test("where fewer runs go on there is no interval, and of one run no mean", () => {
  const runs = [3, 2, 1].map((count) => {
    const xs = Array.from({ length: count }, (_, i) => i);
    return seriesOf(xs, xs);
  });
  const { mean, low } = groupSeries(runs, 3, 0, QUANTILES);
  assert.deepEqual(mean.x, [0, 1]);
  assert.deepEqual(low.x, [0]);
});

test("the only run of a group with values is drawn as it is", () => {
  const { mean, low, high } = groupSeries([seriesOf([1, 2], [4, 3])], 3, 0, QUANTILES);
  assert.deepEqual(
    [mean.x, mean.mean],
    [
      [1, 2],
      [4, 3],
    ],
  );
  assert.deepEqual([low.x, high.x], [[], []]);
});

test("runs that share no x are averaged where they are close", () => {
  const xs = Array.from({ length: 50 }, (_, i) => 100 * i);
  const runs = [0, 10, 20].map((shift) =>
    seriesOf(
      xs.map((x) => x + shift),
      xs,
    ),
  );
  const { mean } = groupSeries(runs, 3, 0, QUANTILES);
  assert.equal(mean.x.length, 50);
  mean.x.forEach((x, i) => {
    assert.equal(mean.mean[i], xs[i]);
    assert.equal(x, xs[i] + 10);
  });
});

test("values that are no numbers are not averaged, and stay marked", () => {
  const runs = [seriesOf([1, 2], [1, "NaN"]), seriesOf([1, 2], [3, 4]), seriesOf([1, 2], [5, 6])];
  const { mean } = groupSeries(runs, 3, 0, QUANTILES);
  assert.deepEqual(mean.mean, [3, 5]);
  assert.deepEqual(mean.broken, [2]);
});

/** Series of many runs on one grid of x. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { dashes } from "../../static/js/charts/palette.js";
import { emptySeries, merge } from "../../static/js/charts/series.js";
import { onGrid } from "../../static/js/compare/grid.js";

/** A series with `count` points whose x begin at `first`. */
function seriesFrom(first, count) {
  const series = emptySeries();
  const xs = Array.from({ length: count }, (_, i) => first + 10 * i);
  merge(series, xs, xs);
  return series;
}

test("few points stay where they are", () => {
  const store = new Map([["a/loss", seriesFrom(0, 100)]]);
  assert.equal(onGrid(store, 0, 990), store);
});

test("points of many runs share positions, and none of their extremes is lost", () => {
  const store = new Map(
    Array.from({ length: 9 }, (_, i) => /** @type {const} */ ([`r${i}`, seriesFrom(i, 1000)])),
  );
  store.get("r3")?.max.splice(500, 1, 1e6);
  const drawn = onGrid(store, 0, 9998);
  const positions = new Set([...drawn.values()].flatMap(({ x }) => x));
  assert.ok(positions.size <= 1601);
  const series = /** @type {import("../../static/js/charts/series.js").Series} */ (drawn.get("r3"));
  assert.equal(Math.max(...series.max), 1e6);
  assert.equal(series.count, 1000);
  assert.equal(series.points, series.x.length);
  series.x.forEach((x, i) => {
    assert.ok(i === 0 || series.x[i - 1] < x);
    assert.ok(Math.abs(series.mean[i] - x) <= 10);
  });
});

test("lines after the last colour have other dashes than the first of that colour", () => {
  const styles = Array.from({ length: 36 }, (_, i) => `${i % 6} ${dashes(i).join(" ")}`);
  assert.equal(new Set(styles).size, 36);
});

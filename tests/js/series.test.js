/** The data of a chart: late, repeated and unordered points give the same curve. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { columnsOf, keysOf, PER_LINE } from "../../static/js/charts/columns.js";
import { describe } from "../../static/js/charts/legend.js";
import {
  align,
  emptySeries,
  extentOf,
  merge,
  seriesOf,
  smooth,
} from "../../static/js/charts/series.js";

/** @param {number} seed */
function shuffled(seed, values) {
  const shuffledValues = [...values];
  for (let i = shuffledValues.length - 1; i > 0; i -= 1) {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    const j = seed % (i + 1);
    [shuffledValues[i], shuffledValues[j]] = [shuffledValues[j], shuffledValues[i]];
  }
  return shuffledValues;
}

const steps = Array.from({ length: 30 }, (_, i) => i);

test("points in any order make the same curve", () => {
  const ordered = emptySeries();
  merge(
    ordered,
    steps,
    steps.map((x) => x * x),
  );
  for (let seed = 1; seed <= 20; seed += 1) {
    const series = emptySeries();
    for (const x of shuffled(seed, steps)) merge(series, [x], [x * x]);
    assert.deepEqual(series, ordered);
  }
});

test("a point that arrives twice is drawn once, and the later value counts", () => {
  const series = emptySeries();
  merge(series, [1, 2], [10, 20]);
  merge(series, [2, 3], [21, 30]);
  assert.deepEqual(series.x, [1, 2, 3]);
  assert.deepEqual(series.mean, [10, 21, 30]);
  assert.equal(series.count, 3);
});

test("a value that is not a number is marked and not drawn", () => {
  const series = emptySeries();
  merge(series, [1, 2, 3], [1, "NaN", "Infinity"]);
  merge(series, [2], ["NaN"]);
  assert.deepEqual(series.x, [1]);
  assert.deepEqual(series.broken, [2, 3]);
});

test("a series of the server keeps its buckets and its marks", () => {
  const series = seriesOf({
    x: [0.5, 2.5],
    mean: [1, "NaN"],
    min: [0, "NaN"],
    max: [2, "NaN"],
    count: 4,
    marks: [
      [2, "NaN"],
      [3, "NaN"],
    ],
  });
  assert.deepEqual([series.x, series.min, series.max], [[0.5], [0], [2]]);
  assert.deepEqual(series.broken, [2, 3]);
  assert.equal(series.count, 4);
});

test("smoothing leaves a constant as it is and is not biased to the first value", () => {
  assert.deepEqual(
    smooth([3, 3, 3], 0.9).map((value) => value.toFixed(9)),
    ["3.000000000", "3.000000000", "3.000000000"],
  );
  const [first, second] = smooth([0, 1], 0.5);
  assert.equal(first, 0);
  assert.ok(Math.abs(second - 2 / 3) < 1e-12);
});

test("series with different steps share one axis, with gaps", () => {
  assert.deepEqual(
    align([
      { x: [1, 3], columns: [[10, 30]] },
      { x: [2, 3], columns: [[5, 6], []] },
    ]),
    [
      [1, 2, 3],
      [10, null, 30],
      [null, 5, 6],
      [null, null, null],
    ],
  );
});

test("the band is the interval of a line, or else the minimum and maximum of its buckets", () => {
  const lines = [
    { key: "p", label: "p", low: "p/low", high: "p/high" },
    { key: "q", label: "q" },
  ];
  const bucket = (value) =>
    seriesOf({ x: [1], mean: [value], min: [value - 1], max: [value + 1], count: 5, marks: [] });
  const store = new Map([
    ["p", bucket(5)],
    ["p/low", bucket(4.5)],
    ["p/high", bucket(5.5)],
    ["q", bucket(7)],
  ]);
  assert.deepEqual(keysOf(lines), ["p", "p/low", "p/high", "q"]);
  assert.deepEqual(
    columnsOf(lines, store, 0).map((column) => column[0]),
    [1, 5, 4.5, 5.5, null, 7, 6, 8, null],
  );
});

test("values that are not finite make no band", () => {
  const answer = { x: [1, 3], mean: [5, 6], min: [5, 6], max: [5, 6], count: 3 };
  const series = seriesOf({ ...answer, marks: [[2, "NaN"]] });
  const [, , low, high] = columnsOf([{ key: "p", label: "p" }], new Map([["p", series]]), 0);
  assert.deepEqual([...low, ...high], [null, null, null, null]);
});

test("a measurement with an interval is not smoothed, and the legend never shows a smoothed value", () => {
  const lines = [
    { key: "p", label: "p", low: "p/low", high: "p/high" },
    { key: "q", label: "q" },
  ];
  const series = ["p", "p/low", "p/high", "q"].map((key) => {
    const single = emptySeries();
    merge(single, [1, 2], [0, 1]);
    return /** @type {[string, import("../../static/js/charts/series.js").Series]} */ ([
      key,
      single,
    ]);
  });
  const data = columnsOf(lines, new Map(series), 0.9);
  assert.deepEqual(data[1], [0, 1]);
  assert.ok(/** @type {number} */ (data[1 + PER_LINE][1]) < 1);
  assert.deepEqual(
    [describe(data, 0, null, String), describe(data, 1, null, String)],
    ["1 (1 to 1)", "1"],
  );
});

test("a smoothed line keeps its raw curve behind it", () => {
  const series = emptySeries();
  merge(series, [1, 2], [0, 1]);
  const [, curve, , , raw] = columnsOf([{ key: "k", label: "k" }], new Map([["k", series]]), 0.5);
  assert.deepEqual(raw, [0, 1]);
  assert.ok(/** @type {number} */ (curve[1]) < 1);
});

test("a schedule is not smoothed", () => {
  const series = emptySeries();
  merge(series, [1, 2, 3], [1, 0, 1]);
  const lines = [
    { key: "lr", label: "learning rate", schedule: true },
    { key: "lr", label: "the same, measured" },
  ];
  const data = columnsOf(lines, new Map([["lr", series]]), 0.9);
  assert.deepEqual(data[1], [1, 0, 1]);
  assert.notDeepEqual(data[1 + PER_LINE], [1, 0, 1]);
});

test("the common range of all series is from the first to the last x", () => {
  const [a, b] = [emptySeries(), emptySeries()];
  merge(a, [3, 5], [1, 1]);
  merge(b, [-1, 4], [1, 1]);
  assert.deepEqual(
    extentOf(
      new Map([
        ["a", a],
        ["b", b],
        ["c", emptySeries()],
      ]),
    ),
    [-1, 5],
  );
  assert.equal(extentOf(new Map()), null);
});

test("the range of a series that was never finite is that of its marks", () => {
  const series = emptySeries();
  for (const x of shuffled(3, steps)) merge(series, [x, x], ["NaN", "Infinity"]);
  assert.deepEqual(series.broken, steps);
  assert.deepEqual(extentOf(new Map([["loss", series]])), [0, 29]);
  merge(series, [40], [1]);
  assert.deepEqual(extentOf(new Map([["loss", series]])), [0, 40]);
  const answer = { x: [], mean: [], min: [], max: [], count: 2 };
  const marks = /** @type {any} */ ([
    [7, "NaN"],
    [3, "Infinity"],
    [7, "-Infinity"],
  ]);
  assert.deepEqual(seriesOf({ ...answer, marks }).broken, [3, 7]);
});

test("any number of values that are not finite takes no longer than their number allows", () => {
  const series = emptySeries();
  const xs = Array.from({ length: 100_000 }, (_, i) => i);
  merge(
    series,
    xs,
    xs.map(() => "NaN"),
  );
  assert.equal(series.broken.length, 100_000);
});

test("smoothing keeps the range of its values, whatever they are", () => {
  for (const values of [
    [1e308, 1.7e308, -1.7e308, 1.7e308],
    [5e-324, 1e-320, 0, 1e-310],
    [-1, -1, -1],
    [1e300],
  ])
    for (const weight of [0, 0.5, 0.9, 0.99])
      smooth(values, weight).forEach((value, i) => {
        const seen = values.slice(0, i + 1);
        // The average of a few denormals may be off by their own precision.
        const rounding = 1e-12 * Math.max(...seen.map(Math.abs)) + 1e-323;
        assert.ok(Number.isFinite(value), `${values} ${weight}`);
        assert.ok(value >= Math.min(...seen) - rounding && value <= Math.max(...seen) + rounding);
      });
});

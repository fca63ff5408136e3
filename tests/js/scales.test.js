/** Ranges and ticks of axes: for any values, and with labels that differ. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  linearTicks,
  logRange,
  logTicks,
  paddedRange,
  tickLabels,
  xRange,
} from "../../static/js/charts/scales.js";

const FORMATS = /** @type {import("../../static/js/format.js").Format[]} */ ([
  "plain",
  "percent",
  "bytes",
  "count",
  "seconds",
  "step",
]);
const MOST = 6;

/** Pairs of a lowest and a highest value. */
const RANGES = [
  [0, 1],
  [0.1, 0.9],
  [-1, 1],
  [-3e-7, 4e-9],
  [1.3290300004293706e-29, 10],
  [1e-45, 1],
  [5e-324, 1.7e308],
  [5e-324, 1e-320],
  [1e-310, 1e-300],
  [8.5e9, 8_519_950_000],
  [2.345678, 2.34568],
  [0.9999999, 1],
  [1e15, 1e15 + 100],
  [1e308, 1.7e308],
  [-1.7e308, 1.7e308],
  [-1e-9, 0],
  [0, 2 ** 62],
  [7200, 7320],
  [0, 86400 * 30],
  [3600, 3600.5],
  [0, 5e-324],
  [10 * 2 ** 30, 10.2 * 2 ** 30],
  [999_500, 1_000_500],
  [9_990, 10_010],
  [1e20, 1e23],
  [42, 42],
  [0, 0],
  [-5, -5],
  [1e-300, 1e-300],
];

/** Numbers as a generator with a fixed seed gives them, over the whole range of floats. */
function* randomRanges() {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 3000; i += 1) {
    const low = (random() - 0.3) * 10 ** (Math.floor(random() * 640) - 322);
    const high = low + Math.abs(low || 1) * 10 ** (Math.floor(random() * 20) - 12);
    if (Number.isFinite(high)) yield [low, high];
  }
}

/** @param {number[]} ticks @param {string[]} labels @param {[number, number]} range */
function check(ticks, labels, [from, to], context) {
  assert.ok(ticks.length <= 2 * MOST + 3, `${context}: ${ticks.length} ticks`);
  ticks.forEach((value, i) => {
    assert.ok(value >= from && value <= to, `${context}: ${value} is outside`);
    assert.ok(!i || value > ticks[i - 1], `${context}: ${ticks}`);
    assert.ok(!i || labels[i] !== labels[i - 1], `${context}: ${labels}`);
  });
}

test("ticks of any range are inside it, ascend, and have labels that differ", () => {
  for (const [low, high] of [...RANGES, ...randomRanges()]) {
    const range = paddedRange(low, high);
    assert.ok(range[0] <= low || low < -8e307, `${low} is in ${range}`);
    assert.ok(range[1] > range[0] && Number.isFinite(range[1] - range[0]), `${low} ${high}`);
    for (const format of FORMATS) {
      const ticks = linearTicks(...range, MOST, format);
      check(ticks, tickLabels(ticks, format), range, `${format} ${low} ${high}`);
    }
  }
});

test("a range that floats can divide has at least two ticks", () => {
  for (const [low, high] of RANGES.filter(([low, high]) => high / 2 - low / 2 > 1e-12 * high)) {
    for (const format of /** @type {any[]} */ (["plain", "percent", "count"]))
      assert.ok(linearTicks(...paddedRange(low, high), MOST, format).length > 1, `${low} ${high}`);
  }
});

test("a logarithmic axis shows any positive range, with labels that differ", () => {
  const positive = [...RANGES, ...randomRanges()].filter(([low]) => low > 0);
  for (const [low, high] of positive) {
    const range = logRange(low, high);
    assert.ok(0 < range[0] && range[0] <= low && high <= range[1], `${low} ${high} ${range}`);
    assert.ok(range[0] < range[1] && Number.isFinite(range[1]));
    for (const format of FORMATS) {
      const ticks = logTicks(...range, MOST, format);
      check(ticks, tickLabels(ticks, format, true), range, `log ${format} ${low} ${high}`);
    }
  }
});

for (const [low, high, format, expected] of /** @type {[number, number, any, string[]][]} */ ([
  [8.5e9, 8.52e9, "count", ["8.5G", "8.505G", "8.51G", "8.515G", "8.52G"]],
  [0, 1, "percent", ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]],
  [0, 7200, "seconds", ["0 s", "30 min", "1 h", "1 h 30 min", "2 h"]],
  [7200, 7320, "seconds", ["2 h", "2 h 30 s", "2 h 1 min", "2 h 1 min 30 s", "2 h 2 min"]],
  [0, 2 ** 31, "bytes", ["0 B", "512 MiB", "1 GiB", "1.5 GiB", "2 GiB"]],
  [0, 4, "step", ["0", "1", "2", "3", "4"]],
  [-2e-6, 0, "plain", ["−2e−6", "−1.5e−6", "−1e−6", "−5e−7", "0"]],
  [2.345678, 2.34568, "plain", ["2.345678", "2.3456785", "2.345679", "2.3456795", "2.34568"]],
])) {
  test(`the ticks of ${format} from ${low} to ${high}`, () =>
    assert.deepEqual(tickLabels(linearTicks(low, high, 5, format), format), expected));
}

for (const [low, high, expected] of /** @type {[number, number, string[]][]} */ ([
  [1e-30, 10, ["1e−30", "1e−25", "1e−20", "1e−15", "1e−10", "1e−5", "1"]],
  [1e-45, 1, ["1e−40", "1e−30", "1e−20", "1e−10", "1"]],
  [0.5, 20, ["0.5", "1", "2", "5", "10", "20"]],
  [1, 1e6, ["1", "10", "100", "1000", "10k", "100k", "1M"]],
  [1e-323, 1e-318, ["1e−323", "1e−322", "1e−321", "1e−320", "1e−319", "1e−318"]],
  [2, 3, ["2", "2.2", "2.4", "2.6", "2.8", "3"]],
  [1, 3, ["1", "1.5", "2", "2.5", "3"]],
])) {
  test(`the ticks of a logarithmic axis from ${low} to ${high}`, () =>
    assert.deepEqual(tickLabels(logTicks(low, high, 7, "plain"), "plain", true), expected));
}

test("values that differ only as sums of floats do are level", () => {
  const [low, high] = paddedRange(0.3, 0.1 + 0.2);
  assert.ok(high - low > 0.1);
  const [from, to] = paddedRange(1e15, 1e15 + 100);
  assert.ok(to - from < 200);
});

test("a chart shows the common range unless its own values are a small part of it", () => {
  assert.deepEqual(xRange([0, 100], [0, 100]), [0, 100]);
  assert.deepEqual(xRange([0, 100], [50, 90]), [0, 100]);
  assert.deepEqual(xRange([0, 1e9], [0, 2000]), [0, 2000]);
  assert.deepEqual(xRange([0, 1e9], [5, 5]), [0, 1e9]);
  assert.deepEqual(xRange([0, 1e9], null), [0, 1e9]);
  assert.deepEqual(xRange(null, null), [0, 1]);
});

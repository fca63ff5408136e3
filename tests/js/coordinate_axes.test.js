/** The axes of parallel coordinates and the ranges that are marked on them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  endsOf,
  isInside,
  rangeBetween,
  readRanges,
  shareOf,
  textOf,
  ticksOf,
  valueAt,
  writeRanges,
} from "../../static/js/compare/coordinate_axes.js";

/**
 * @typedef {import("../../static/js/compare/coordinate_axes.js").Axis} Axis
 * @param {(number | null)[]} values
 * @param {Partial<Axis>} [others]
 * @returns {Axis}
 */
function axisOf(values, others = {}) {
  return {
    ...{ key: "setting:lr", name: "lr", kind: "setting", scale: "linear", format: "plain" },
    ...{ values, ...others },
  };
}

const AXES = [
  axisOf([1, 2, 4, null]),
  axisOf([1e-5, 1e-3, 10, null], { scale: "log" }),
  axisOf([0, 1, 2, null], { scale: "text", categories: ["adamw", "lion", "sgd"] }),
  axisOf([-1e308, 0, 1e308]),
];

test("a value is where its axis shows it", () => {
  for (const axis of AXES) {
    const [low, high] = endsOf(axis);
    assert.equal(shareOf(axis, low), 0);
    assert.equal(shareOf(axis, high), 1);
    for (const value of axis.values)
      if (value !== null) {
        const back = valueAt(axis, shareOf(axis, value));
        assert.ok(Math.abs(back - value) <= 1e-9 * Math.max(Math.abs(low), Math.abs(high)));
      }
    const shares = ticksOf(axis).map(({ share }) => share);
    assert.ok(shares.length >= 2 && shares.every((share) => share >= 0 && share <= 1));
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    );
  }
  assert.equal(shareOf(axisOf([3, 3]), 3), 0.5);
  assert.deepEqual(ticksOf(axisOf([null])), []);
});

test("a range keeps the values at its ends, and no run without a value", () => {
  const [axis] = AXES;
  const inside = (/** @type {number} */ low, /** @type {number} */ high) => {
    const range = rangeBetween(axis, low, high);
    const ranges = new Map(range ? [[axis.key, range]] : []);
    return axis.values.map((_, run) => isInside([axis], ranges, run));
  };
  assert.deepEqual(inside(0, 1), [true, true, true, true]);
  assert.deepEqual(inside(0.5, 0), [true, true, false, false]);
  assert.deepEqual(inside(0.3, 1), [false, true, true, false]);
  // The greatest value is inside of an open end, whatever its digits.
  const third = axisOf([0, 1 / 3]);
  const upper = new Map([[third.key, rangeBetween(third, 0.5, 1) ?? { low: null, high: null }]]);
  assert.ok(isInside([third], upper, 1));
});

test("a range of texts holds whole texts", () => {
  const axis = AXES[2];
  assert.deepEqual(rangeBetween(axis, 0.3, 0.9), { low: 1, high: 1 });
  assert.equal(textOf(axis, 1), "lion");
  assert.equal(textOf(axis, null), "not set");
  assert.equal(textOf(axisOf([], { kind: "result" }), null), "no value");
});

test("ranges are read from the address as they were written", () => {
  const ranges = new Map([
    ["setting:a:b", { low: 0.5, high: null }],
    ["result:eval/pass_rate", { low: -1e-9, high: 2 }],
  ]);
  assert.deepEqual(readRanges(writeRanges(ranges).split("\n")), ranges);
  assert.deepEqual(readRanges(["", "x", "1:2", "1:2:"]), new Map());
  assert.deepEqual(readRanges(["x:NaN:key"]), new Map([["key", { low: null, high: null }]]));
});

/** The formatting of numbers. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, count, percent, plain, points, seconds, tick } from "../../static/js/format.js";

const cases = [
  [plain, 0, "0"],
  [plain, 1234.5, "1235"],
  [plain, -0.5, "−0.500"],
  [plain, 2.5e-4, "2.50e−4"],
  [plain, 1.5e7, "1.50e7"],
  [plain, NaN, "NaN"],
  [percent, 0.4567, "45.7 %"],
  [points, 0.12, "+12.0"],
  [points, -0.031, "−3.1"],
  [count, 950, "950"],
  [count, 9500, "9,500"],
  [count, 12_345, "12.3k"],
  [count, 2_500_000, "2.5M"],
  [count, 3.2e15, "3.2P"],
  [bytes, 0, "0 B"],
  [bytes, 1536, "1.5 KiB"],
  [bytes, 3 * 2 ** 30, "3.0 GiB"],
  [seconds, 0.25, "0.250 s"],
  [seconds, 42, "42 s"],
  [seconds, 75, "1 min 15 s"],
  [seconds, 3 * 3600 + 1800, "3 h 30 min"],
  [seconds, 3 * 86400, "3 d 0 h"],
];

for (const [format, value, expected] of cases) {
  test(`${format.name}(${value}) is ${expected}`, () => assert.equal(format(value), expected));
}

test("neighbouring ticks differ, and have no more digits than needed", () => {
  assert.deepEqual(
    [0, 0.5, 1].map((value) => tick(value, 0.5, "plain")),
    ["0", "0.5", "1"],
  );
  assert.deepEqual(
    [0.925, 0.95].map((value) => tick(value, 0.025, "percent")),
    ["92.5 %", "95 %"],
  );
  assert.deepEqual(
    [12_500, 15_000].map((value) => tick(value, 2500, "count")),
    ["12.5k", "15k"],
  );
  assert.deepEqual(
    [8e-4, 8.5e-4].map((value) => tick(value, 5e-5, "plain")),
    ["8e−4", "8.5e−4"],
  );
  assert.deepEqual(
    [60, 120].map((value) => tick(value, 60, "seconds")),
    ["1 min", "2 min"],
  );
});

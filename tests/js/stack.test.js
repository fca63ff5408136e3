import assert from "node:assert/strict";
import { test } from "node:test";
import { PER_LINE } from "../../static/js/charts/columns.js";
import { areas, stacked } from "../../static/js/charts/stack.js";

/** @param {(number | null)[]} curve @returns {(number | null)[][]} the columns of a line */
const line = (curve) => [curve, ...Array.from({ length: PER_LINE - 1 }, () => curve.map(() => 9))];

test("each curve is drawn on top of those before it", () => {
  const columns = stacked([
    [1, 2],
    ...line([0.5, 0.25]),
    ...line([0.25, 0.25]),
    ...line([0.25, 0.5]),
  ]);
  assert.deepEqual(columns[0], [1, 2]);
  assert.deepEqual(columns[1], [0.5, 0.25]);
  assert.deepEqual(columns[1 + PER_LINE], [0.75, 0.5]);
  assert.deepEqual(columns[1 + 2 * PER_LINE], [1, 1]);
});

test("bands and raw curves of the single lines are not drawn", () => {
  const [, , ...others] = stacked([[1], ...line([0.5])]);
  assert.deepEqual(others, [[null], [null], [null]]);
});

test("a missing value adds nothing, and a point that no line has stays empty", () => {
  const columns = stacked([[1, 2], ...line([0.5, null]), ...line([null, null])]);
  assert.deepEqual(columns[1 + PER_LINE], [0.5, null]);
});

test("there is an area between each two neighbours", () => {
  const bands = areas(3, (index) => `colour ${index}`);
  assert.deepEqual(
    bands.map((band) => band.series),
    [
      [1 + PER_LINE, 1],
      [1 + 2 * PER_LINE, 1 + PER_LINE],
    ],
  );
  assert.equal(/** @type {() => string} */ (bands[1].fill)(), "colour 2");
});

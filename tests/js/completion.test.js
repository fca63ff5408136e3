/** What the filter is completed at, by the text before the caret. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { placeIn } from "../../static/js/completion.js";

const cases = [
  ["", { start: 0, name: null, typed: "" }],
  ["a -lea", { start: 2, name: null, typed: "lea" }],
  ["state:run", { start: 6, name: "state", typed: "run" }],
  ["a state : run", { start: 10, name: "state", typed: "run" }],
  ["lr > ", { start: 5, name: "lr", typed: "" }],
  ["lr > 1 lo", { start: 7, name: null, typed: "lo" }],
  ['"my metric" = x', { start: 14, name: "my metric", typed: "x" }],
  ['name:"two wo', { start: 5, name: "name", typed: "two wo" }],
];

test("a name or a value is completed, with or without spaces around the sign", () => {
  for (const [text, expected] of cases) {
    const { start, name, typed } = placeIn(text);
    assert.deepEqual({ start, name, typed }, expected, text);
  }
});

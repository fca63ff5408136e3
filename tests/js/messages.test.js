/** Recorded server messages and the types of live.js agree with the schema of the live protocol. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fromClient, fromServer, schema } from "./messages.js";

const text = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const recorded = text("recorded_frames.jsonl")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

test("every recorded frame is valid", () => {
  recorded.forEach(fromServer);
  assert.deepEqual([...new Set(recorded.map((frame) => frame.type))].sort(), [
    "delta",
    "error",
    "jobs",
    "pong",
    "refused",
    "reset",
    "runs",
    "stalled",
  ]);
});

test("invalid messages are rejected", () => {
  const [delta] = recorded.filter((frame) => frame.type === "delta");
  for (const change of [
    { cursor: -1 },
    { cursor: undefined },
    { more: true },
    { series: [{ key: "loss", x: [1], y: ["nan"] }] },
  ]) {
    assert.throws(() => fromServer(JSON.parse(JSON.stringify({ ...delta, ...change }))));
  }
  for (const message of [
    {},
    { type: "subscribe" },
    { type: "subscribe", run: "../x" },
    { type: "subscribe", run: "abc", width: 1 },
  ]) {
    assert.throws(() => fromClient(message));
  }
});

/**
 * The fields of a JSDoc type of live.js, with those of its base types.
 * @param {string} name
 * @returns {string[]}
 */
function fieldsOf(name) {
  const source = text("../../static/js/live.js").replace(/\n \* */g, " ");
  const [, base, body] = source.match(
    new RegExp(`@typedef \\{(?:(\\w+) & )?\\{([^@]*?)\\}\\} ${name}\\b`),
  );
  const ownFields = [...body.replace(/\[.*?\]|Record<.*?>/g, "").matchAll(/(?:^|, +)(\w+): /g)].map(
    ([, field]) => field,
  );
  return [...(base ? fieldsOf(base) : []), ...ownFields].sort();
}

for (const name of [
  "State",
  "Row",
  "Points",
  "Buckets",
  "Delta",
  "Reset",
  "Runs",
  "JobRow",
  "Jobs",
  "Refused",
  "Stalled",
  "Pong",
  "Mistake",
  "Subscribe",
  "Unsubscribe",
  "SubscribeList",
  "SubscribeJobs",
  "Ping",
]) {
  test(`the type ${name} in live.js has the fields of the schema`, () => {
    assert.deepEqual(fieldsOf(name), Object.keys(schema.$defs[name].properties).sort());
  });
}

/** Recorded server messages and the types for live.js agree with the schema of the live protocol. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { messageTypes, TYPES } from "./message_types.js";
import { fromClient, fromServer } from "./messages.js";

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

test("the types that live.js is checked with are those of the schema", () => {
  assert.equal(readFileSync(TYPES, "utf8"), messageTypes(), "run: node tests/js/message_types.js");
});

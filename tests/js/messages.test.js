/** One definition of the live socket's messages: what the server really sent, what the pages' types say, and what must be refused. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fromClient, fromServer, schema } from "./messages.js";

const text = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const recorded = text("recorded_frames.jsonl").trim().split("\n").map((line) => JSON.parse(line));

test("every frame that a server sent keeps to the definition", () => {
  recorded.forEach(fromServer);
  assert.deepEqual([...new Set(recorded.map((frame) => frame.type))].sort(), ["delta", "error", "jobs", "pong", "refused", "reset", "runs", "stalled"]);
});

test("what is not defined is refused", () => {
  const [delta] = recorded.filter((frame) => frame.type === "delta");
  for (const change of [{ cursor: -1 }, { cursor: undefined }, { more: true }, { series: [{ key: "loss", x: [1], y: ["nan"] }] }]) {
    assert.throws(() => fromServer(JSON.parse(JSON.stringify({ ...delta, ...change }))));
  }
  for (const said of [{}, { type: "subscribe" }, { type: "subscribe", run: "../x" }, { type: "subscribe", run: "abc", width: 1 }]) {
    assert.throws(() => fromClient(said));
  }
});

/** The fields of a JSDoc type of live.js, with those of the types that it adds to. @param {string} name @returns {string[]} */
function fieldsOf(name) {
  const source = text("../../static/js/live.js").replace(/\n \*/g, "");
  const [, base, body] = source.match(new RegExp(`@typedef \\{(?:(\\w+) & )?\\{([^@]*?)\\}\\} ${name}\\b`));
  const own = [...body.replace(/\[.*?\]|Record<.*?>/g, "").matchAll(/(?:^|, +)(\w+): /g)].map(([, field]) => field);
  return [...(base ? fieldsOf(base) : []), ...own].sort();
}

for (const name of ["State", "Row", "Points", "Buckets", "Delta", "Reset", "Runs", "JobRow", "Jobs", "Refused", "Stalled", "Pong", "Mistake", "Subscribe", "Unsubscribe", "SubscribeList", "SubscribeJobs", "Ping"]) {
  test(`the type ${name} of the pages has the fields of the definition`, () => {
    assert.deepEqual(fieldsOf(name), Object.keys(schema.$defs[name].properties).sort());
  });
}

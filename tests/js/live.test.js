/**
 * The live connection: it continues from its cursor, drops repeated frames, and disconnects in a
 * hidden tab.
 */

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { serverNow } from "../../static/js/server_clock.js";
import { backoff, openLive } from "../../static/js/live.js";
import { fromClient, fromServer } from "./messages.js";

/** A fake WebSocket: the test plays the server. */
class FakeSocket {
  static opened = [];

  constructor(address) {
    this.address = address;
    this.sent = [];
    this.readyState = 0;
    FakeSocket.opened.push(this);
  }

  send(text) {
    const message = JSON.parse(text);
    fromClient(message);
    this.sent.push(message);
  }

  accept() {
    this.readyState = 1;
    this.onopen();
  }

  push(frame) {
    fromServer(frame);
    this.onmessage({ data: JSON.stringify(frame) });
  }

  close(code = 1006) {
    this.readyState = 3;
    this.onclose({ code });
  }
}

class FakePage extends EventTarget {
  visibilityState = "visible";

  setVisibility(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

const NOON = Date.parse("2026-01-01T12:00:00Z");
const MINUTE = 60_000;
let page;
let live;
let frames;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: NOON });
  FakeSocket.opened = [];
  page = new FakePage();
  frames = [];
  live = openLive({ address: "ws://test/live/", Socket: FakeSocket, page });
});

function follow(since = 0) {
  live.follow("abc", { keys: ["loss"], width: 800, since, onFrame: (frame) => frames.push(frame) });
}

const last = () => FakeSocket.opened[FakeSocket.opened.length - 1];
const state = {
  state: "running",
  word: "running",
  step: 1,
  total_steps: 9,
  phase: "training",
  eta_s: 5,
  reason: "",
  remedy: "",
  attempt: 1,
  last_event_at: null,
  behind_s: 0.1,
  summary: {},
};
const now = "2026-01-01T12:00:00Z";
const delta = (cursor, changes = {}) => ({
  type: "delta",
  run: "abc",
  cursor,
  part: 0,
  parts: 1,
  now,
  series: [],
  changed: [],
  state: { ...state, ...changes },
});
const reset = (cursor, changes = {}) => ({
  ...delta(cursor),
  type: "reset",
  width: 800,
  ...changes,
});

/** Advance the clock and run the timers. @param {number} milliseconds */
function pass(milliseconds) {
  for (let rest = milliseconds; rest > 0; rest -= 1000) mock.timers.tick(Math.min(rest, 1000));
}

test("a page without subscriptions opens no connection", () => {
  pass(60_000);
  assert.equal(FakeSocket.opened.length, 0);
});

test("it subscribes from the cursor of the page", () => {
  follow(7);
  last().accept();
  assert.deepEqual(last().sent, [
    { type: "subscribe", run: "abc", keys: ["loss"], since: 7, width: 800 },
  ]);
});

test("after an interruption it subscribes from its cursor and drops repeated frames", () => {
  follow(7);
  last().accept();
  last().push(delta(9));
  last().close();
  pass(1000);
  assert.equal(FakeSocket.opened.length, 2);
  last().accept();
  assert.equal(last().sent[0].since, 9);
  last().push(delta(9));
  last().push(delta(10));
  assert.deepEqual(
    frames.map((frame) => frame.cursor),
    [9, 10],
  );
});

test("a reset is delivered even with an older cursor", () => {
  follow(7);
  last().accept();
  last().push(reset(3));
  assert.equal(frames.length, 1);
  last().push(delta(4));
  assert.equal(frames.length, 2);
});

test("while the server is down, attempts become rarer but at most 30 s apart", () => {
  follow();
  for (let failures = 0; failures < 12; failures += 1) {
    assert.ok(backoff(failures) >= Math.min(30_000, 500 * 2 ** failures) / 2);
    assert.ok(backoff(failures) <= 30_000);
    last().close();
    pass(30_000);
    assert.equal(FakeSocket.opened.length, failures + 2);
  }
});

test("a hidden tab disconnects after a while and sends nothing until it is shown", () => {
  follow();
  last().accept();
  last().push(delta(5));
  page.setVisibility("hidden");
  pass(31_000);
  assert.equal(last().readyState, 3);
  pass(3_600_000);
  assert.equal(FakeSocket.opened.length, 1);
  page.setVisibility("visible");
  last().accept();
  assert.equal(last().sent[0].since, 5);
});

test("a tab that is hidden briefly keeps its connection", () => {
  follow();
  last().accept();
  last().push(delta(5, { state: "completed" }));
  page.setVisibility("hidden");
  pass(5000);
  page.setVisibility("visible");
  pass(60_000);
  assert.equal(FakeSocket.opened.length, 1);
  assert.equal(last().readyState, 1);
});

test("a refused run is not subscribed to again", () => {
  let reason = "";
  live.follow("abc", {
    keys: null,
    width: 10,
    since: 0,
    onFrame: () => {},
    onRefused: (message) => (reason = message),
  });
  last().accept();
  last().push({ type: "refused", run: "abc", message: "The link was revoked." });
  assert.equal(reason, "The link was revoked.");
  last().close();
  pass(60_000);
  assert.equal(FakeSocket.opened.length, 1);
});

test("the list of runs receives every row", () => {
  const received = [];
  live.followList((rows) => received.push(...rows));
  last().accept();
  assert.deepEqual(last().sent, [{ type: "subscribe_list" }]);
  const row = { run: "abc", name: "first", ...state };
  last().push({ type: "runs", now, rows: [row] });
  assert.deepEqual(received, [row]);
});

test("the page is told the status of the connection", () => {
  const received = [];
  live.onStatusChange((status) => received.push(status));
  follow();
  last().accept();
  last().push(delta(1));
  last().close();
  assert.deepEqual(received, ["connecting", "live", "waiting"]);
});

test("the last part of a reset moves the cursor", () => {
  follow(7);
  last().accept();
  last().push(reset(20, { part: 0, parts: 2 }));
  last().close();
  pass(1000);
  last().accept();
  assert.equal(last().sent[0].since, 7);
  last().push(reset(21, { part: 0, parts: 2 }));
  last().push(reset(21, { part: 1, parts: 2 }));
  last().push(delta(21));
  last().push(delta(22));
  assert.deepEqual(
    frames.map(({ type, cursor, part }) => [type, cursor, part]),
    [
      ["reset", 20, 0],
      ["reset", 21, 0],
      ["reset", 21, 1],
      ["delta", 22, 0],
    ],
  );
});

/** Move the clock without running timers, as when a laptop sleeps. @param {number} passed */
function sleepThrough(passed) {
  mock.timers.setTime(Date.now() + passed);
}

test("after the laptop slept for an hour the page subscribes from its cursor on a new connection", () => {
  follow(7);
  last().accept();
  last().push(delta(9));
  sleepThrough(60 * MINUTE);
  pass(5000);
  assert.equal(FakeSocket.opened.length, 2);
  assert.equal(FakeSocket.opened[0].readyState, 3);
  last().accept();
  assert.equal(last().sent[0].since, 9);
});

test("frames of a replaced connection are ignored", () => {
  follow(7);
  const lost = last();
  lost.accept();
  sleepThrough(60 * MINUTE);
  pass(5000);
  lost.push(delta(30));
  assert.deepEqual(frames, []);
  last().accept();
  assert.equal(last().sent[0].since, 7);
});

test("a quiet connection to an active run is pinged, and replaced if no answer comes", () => {
  follow();
  last().accept();
  last().push(delta(1));
  pass(40_000);
  assert.equal(last().sent.length, 1);
  pass(10_000);
  assert.deepEqual(last().sent[1], { type: "ping" });
  last().push({ type: "pong" });
  pass(40_000);
  assert.equal(FakeSocket.opened.length, 1);
  pass(30_000);
  assert.equal(FakeSocket.opened.length, 2);
});

test("the page of a finished run sends no pings", () => {
  follow();
  last().accept();
  last().push(delta(1, { state: "completed" }));
  pass(45 * MINUTE);
  assert.equal(FakeSocket.opened.length, 1);
  assert.equal(last().sent.length, 1);
});

test("a signed-out page does not reconnect", () => {
  const received = [];
  live.onStatusChange((status) => received.push(status));
  follow();
  last().accept();
  last().close(4401);
  pass(10 * MINUTE);
  assert.equal(FakeSocket.opened.length, 1);
  assert.equal(received.at(-1), "signed_out");
});

test("with too many pages open the next attempt is after 30 s", () => {
  follow();
  last().accept();
  last().close(4429);
  pass(29_000);
  assert.equal(FakeSocket.opened.length, 1);
  pass(2000);
  assert.equal(FakeSocket.opened.length, 2);
});

test("an outage of the server's database is shown, and its end", () => {
  const received = [];
  live.onStatusChange((status) => received.push(status));
  follow();
  last().accept();
  last().push({ type: "stalled", message: "The server cannot read its database." });
  last().push(delta(0));
  assert.deepEqual(received, ["connecting", "stalled", "live"]);
});

test("the server's clock is set by its frames", () => {
  follow();
  last().accept();
  last().push({ ...delta(1), now: "2026-01-01T12:10:00Z" });
  assert.equal(serverNow() - Date.now(), 10 * MINUTE);
});

test("jobs are received, also after an interruption, and the connection is pinged while one is active", () => {
  const received = [];
  live.followJobs((rows) => received.push(rows));
  last().accept();
  assert.deepEqual(last().sent, [{ type: "subscribe_jobs" }]);
  const rows = [{ job: "abc", done: 3, parts_done: 0, at_work: 1 }];
  last().push({ type: "jobs", now, rows });
  assert.deepEqual(received, [rows]);
  pass(MINUTE);
  assert.deepEqual(last().sent.at(-1), { type: "ping" });
  last().push({ type: "pong" });
  last().push({ type: "jobs", now, rows: [] });
  pass(2 * MINUTE);
  assert.equal(last().sent.length, 2);
  last().close();
  pass(1000);
  last().accept();
  assert.deepEqual(last().sent, [{ type: "subscribe_jobs" }]);
});

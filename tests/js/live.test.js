/** The live connection: it goes on from its cursor, drops what it has seen, and lets go in a tab that nobody looks at. */

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { backoff, openLive } from "../../static/js/live.js";

/** A server's end of the sockets that the page opens. */
class FakeSocket {
  static opened = [];

  constructor(address) {
    this.address = address;
    this.sent = [];
    this.readyState = 0;
    FakeSocket.opened.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  accept() {
    this.readyState = 1;
    this.onopen();
  }

  push(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  close() {
    this.readyState = 3;
    this.onclose();
  }
}

class FakePage extends EventTarget {
  visibilityState = "visible";

  turn(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

let page;
let live;
let frames;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  FakeSocket.opened = [];
  page = new FakePage();
  frames = [];
  live = openLive({ address: "ws://here/live/", Socket: FakeSocket, page });
});

function follow(since = 0) {
  live.follow("abc", { keys: ["loss"], width: 800, since, onFrame: (frame) => frames.push(frame) });
}

const last = () => FakeSocket.opened[FakeSocket.opened.length - 1];
const delta = (cursor) => ({ type: "delta", run: "abc", cursor, series: [], changed: [], state: {} });

test("a page that follows nothing opens no connection", () => {
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.opened.length, 0);
});

test("it subscribes from the cursor that the page came with", () => {
  follow(7);
  last().accept();
  assert.deepEqual(last().sent, [{ type: "subscribe", run: "abc", keys: ["loss"], since: 7, width: 800 }]);
});

test("after an interruption it asks for what came since, and drops what it has seen", () => {
  follow(7);
  last().accept();
  last().push(delta(9));
  last().close();
  mock.timers.tick(1000);
  assert.equal(FakeSocket.opened.length, 2);
  last().accept();
  assert.equal(last().sent[0].since, 9);
  last().push(delta(9));
  last().push(delta(10));
  assert.deepEqual(frames.map((frame) => frame.cursor), [9, 10]);
});

test("a reset counts even with an older cursor", () => {
  follow(7);
  last().accept();
  last().push({ ...delta(3), type: "reset" });
  assert.equal(frames.length, 1);
  last().push(delta(4));
  assert.equal(frames.length, 2);
});

test("while the server is away the attempts become rarer, never more than half a minute apart", () => {
  follow();
  for (let failures = 0; failures < 12; failures += 1) {
    assert.ok(backoff(failures) >= Math.min(30_000, 500 * 2 ** failures) / 2);
    assert.ok(backoff(failures) <= 30_000);
    last().close();
    mock.timers.tick(30_000);
    assert.equal(FakeSocket.opened.length, failures + 2);
  }
});

test("a hidden tab lets go after a while and makes no request until it is seen again", () => {
  follow();
  last().accept();
  last().push(delta(5));
  page.turn("hidden");
  mock.timers.tick(31_000);
  assert.equal(last().readyState, 3);
  mock.timers.tick(3_600_000);
  assert.equal(FakeSocket.opened.length, 1);
  page.turn("visible");
  last().accept();
  assert.equal(last().sent[0].since, 5);
});

test("a tab that is hidden for a moment keeps its connection", () => {
  follow();
  last().accept();
  page.turn("hidden");
  mock.timers.tick(5000);
  page.turn("visible");
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.opened.length, 1);
  assert.equal(last().readyState, 1);
});

test("a refused run is not asked for again", () => {
  let reason = "";
  live.follow("abc", { keys: null, width: 1, since: 0, onFrame: () => {}, onRefused: (message) => (reason = message) });
  last().accept();
  last().push({ type: "refused", run: "abc", message: "The link was revoked." });
  assert.equal(reason, "The link was revoked.");
  last().close();
  mock.timers.tick(60_000);
  assert.equal(FakeSocket.opened.length, 1);
});

test("the list of runs hears of every row", () => {
  const heard = [];
  live.followList((rows) => heard.push(...rows));
  last().accept();
  assert.deepEqual(last().sent, [{ type: "subscribe_list" }]);
  last().push({ type: "runs", rows: [{ run: "abc", state: "running" }] });
  assert.deepEqual(heard, [{ run: "abc", state: "running" }]);
});

test("what the page is told of the connection is true", () => {
  const heard = [];
  live.whenStatusChanges((status) => heard.push(status));
  follow();
  last().accept();
  last().push(delta(1));
  last().close();
  assert.deepEqual(heard, ["connecting", "live", "waiting"]);
});

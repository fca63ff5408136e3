/**
 * The live connection: one WebSocket per page that continues from a cursor after every interruption.
 *
 * A subscription holds the cursor of the last frame that it has seen; after a reconnect it asks for everything past it, so nothing is lost and
 * what arrives twice is dropped. The server pushes; nothing is polled, and a tab that nobody looks at lets the connection go after a while.
 * Only while something is at work and long nothing was heard does the page ask whether the server is still there.
 */

import { setServerTime } from "./server_clock.js";
import { watchConnection } from "./connection_watch.js";

/**
 * @typedef {{state: string, word: string, step: number, total_steps: number | null, phase: string, eta_s: number | null, reason: string, remedy: string, attempt: number,
 *   last_event_at: string | null, behind_s: number | null, summary: Record<string, any>}} State
 * @typedef {State & {run: string, name: string}} Row
 * @typedef {number | "NaN" | "Infinity" | "-Infinity"} Value
 * @typedef {{key: string, x: number[], y: Value[]}} Points
 * @typedef {{key: string, x: number[], mean: Value[], min: Value[], max: Value[], last: Value[], count: number, marks: [number, Value][]}} Buckets
 * @typedef {{run: string, cursor: number, part: number, parts: number, now: string, state: State, changed: string[]}} News
 * @typedef {News & {type: "delta", series: Points[]}} Delta
 * @typedef {News & {type: "reset", width: number, series: Buckets[]}} Reset
 * @typedef {{type: "runs", now: string, rows: Row[]}} Runs
 * @typedef {{job: string, done: number, parts_done: number, at_work: number}} JobRow
 * @typedef {{type: "jobs", now: string, rows: JobRow[]}} Jobs
 * @typedef {{type: "refused", run: string, message: string}} Refused
 * @typedef {{type: "stalled", message: string}} Stalled
 * @typedef {{type: "pong"}} Pong
 * @typedef {{type: "error", message: string}} Mistake
 * @typedef {Delta | Reset} Frame
 * @typedef {Frame | Runs | Jobs | Refused | Stalled | Pong | Mistake} ServerMessage
 *
 * @typedef {{type: "subscribe", run: string, keys: string[] | null, since: number, width: number}} Subscribe
 * @typedef {{type: "unsubscribe", run: string}} Unsubscribe
 * @typedef {{type: "subscribe_list"}} SubscribeList
 * @typedef {{type: "subscribe_jobs"}} SubscribeJobs
 * @typedef {{type: "ping"}} Ping
 * @typedef {Subscribe | Unsubscribe | SubscribeList | SubscribeJobs | Ping} ClientMessage
 *
 * @typedef {{keys: string[] | null, width: number, since: number, onFrame: (frame: Frame) => void, onRefused?: (message: string) => void}} Subscription
 * @typedef {"connecting" | "live" | "stalled" | "waiting" | "asleep" | "signed_out"} Status
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const HIDDEN_GRACE_MS = 30_000;
const NOT_SIGNED_IN = 4401;
const TOO_MANY = 4429;
const OVER = ["stopped", "completed", "failed"];

/** @param {number} failures @returns {number} exponential, with jitter so that tabs do not return all at once */
export function backoff(failures) {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** @returns {string} */
function liveAddress() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/`;
}

/**
 * @param {{address?: string, Socket?: typeof WebSocket, page?: Document}} [parts] replaced in tests
 */
export function openLive({ address = liveAddress(), Socket = WebSocket, page = document } = {}) {
  /** @type {Map<string, Subscription>} */
  const runs = new Map();
  /** @type {Map<string, string>} run → its state, as last heard */
  const states = new Map();
  /** @type {((rows: Row[]) => void) | null} */
  let onList = null;
  /** @type {((rows: JobRow[]) => void) | null} */
  let onJobs = null;
  let jobsAtWork = 0;
  /** @type {WebSocket | null} */
  let socket = null;
  let failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {(status: Status) => void} */
  let onStatus = () => {};
  const isAtWork = () => jobsAtWork > 0 || [...states.values()].some((state) => !OVER.includes(state));
  const watch = watchConnection({ ask: () => send({ type: "ping" }), renew, isAtWork });

  /** @param {ClientMessage} message */
  function send(message) {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message));
  }

  /** @param {string} run @param {Subscription} subscription */
  function subscribe(run, { keys, since, width }) {
    send({ type: "subscribe", run, keys, since, width });
  }

  function hearsNothing() {
    return !runs.size && !onList && !onJobs;
  }

  function connect() {
    if (socket || hearsNothing()) return;
    clearTimeout(timer);
    onStatus("connecting");
    const opened = new Socket(address);
    socket = opened;
    opened.onopen = () => {
      watch.begin();
      runs.forEach((subscription, run) => subscribe(run, subscription));
      if (onList) send({ type: "subscribe_list" });
      if (onJobs) send({ type: "subscribe_jobs" });
    };
    opened.onmessage = (event) => {
      if (socket === opened) receive(JSON.parse(event.data));
    };
    opened.onclose = ({ code }) => {
      if (socket === opened) retry(code);
    };
  }

  /** @param {number} code why the connection was closed */
  function retry(code) {
    letGo();
    onStatus(code === NOT_SIGNED_IN ? "signed_out" : "waiting");
    if (code === NOT_SIGNED_IN) return;
    timer = setTimeout(connect, code === TOO_MANY ? LONGEST_DELAY_MS : backoff(failures++));
  }

  function letGo() {
    const open = socket;
    socket = null;
    clearTimeout(timer);
    watch.end();
    open?.close();
  }

  function renew() {
    letGo();
    connect();
  }

  function sleep() {
    letGo();
    onStatus("asleep");
  }

  /** @param {ServerMessage} frame */
  function receive(frame) {
    failures = 0;
    watch.heard();
    if ("now" in frame) setServerTime(frame.now);
    onStatus(frame.type === "stalled" ? "stalled" : "live");
    if (frame.type === "runs") {
      frame.rows.forEach((row) => states.set(row.run, row.state));
      onList?.(frame.rows);
    } else if (frame.type === "jobs") {
      jobsAtWork = frame.rows.length;
      onJobs?.(frame.rows);
    } else if (frame.type === "refused") refuse(frame);
    else if (frame.type === "delta" || frame.type === "reset") take(frame);
  }

  /** @param {Refused} frame */
  function refuse({ run, message }) {
    const subscription = runs.get(run);
    runs.delete(run);
    states.delete(run);
    subscription?.onRefused?.(message);
    if (hearsNothing()) sleep();
  }

  /** @param {Frame} frame */
  function take(frame) {
    const subscription = runs.get(frame.run);
    if (!subscription) return;
    states.set(frame.run, frame.state.state);
    if (frame.type === "delta" && frame.cursor <= subscription.since) return;
    if (frame.part === frame.parts - 1) subscription.since = frame.cursor;
    subscription.onFrame(frame);
  }

  page.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (page.visibilityState === "hidden") timer = setTimeout(sleep, HIDDEN_GRACE_MS);
    else connect();
  });

  return {
    /** Follow a run from `since` on, in place of an earlier subscription to it. @param {string} run @param {Subscription} subscription */
    follow(run, subscription) {
      runs.set(run, subscription);
      if (socket) subscribe(run, subscription);
      else connect();
    },
    /** @param {string} run */
    leave(run) {
      runs.delete(run);
      states.delete(run);
      send({ type: "unsubscribe", run });
    },
    /** Hear of every run that this person can see. @param {(rows: Row[]) => void} listener */
    followList(listener) {
      onList = listener;
      if (socket) send({ type: "subscribe_list" });
      else connect();
    },
    /** Hear of every job of the team that is not over. @param {(rows: JobRow[]) => void} listener */
    followJobs(listener) {
      onJobs = listener;
      if (socket) send({ type: "subscribe_jobs" });
      else connect();
    },
    /** @param {(status: Status) => void} listener */
    whenStatusChanges(listener) {
      onStatus = listener;
    },
  };
}

/** @typedef {ReturnType<typeof openLive>} Live */

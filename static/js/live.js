/**
 * The live connection: one WebSocket per page that continues from a cursor after every
 * interruption.
 *
 * A subscription holds the cursor of the last frame that it has received. After a reconnect it
 * requests everything after that cursor, so nothing is lost; frames that arrive twice are dropped.
 * The server pushes, nothing is polled. A hidden tab closes the connection after HIDDEN_GRACE_MS.
 * connection_watch.js detects a dead connection. The messages are specified in
 * docs/live-protocol.md; their types are generated from the server's schema.
 */

import { setServerTime } from "./server_clock.js";
import { watchConnection } from "./connection_watch.js";

/**
 * @typedef {import("../../types/live_messages").State} State
 * @typedef {import("../../types/live_messages").Row} Row
 * @typedef {import("../../types/live_messages").Points} Points
 * @typedef {import("../../types/live_messages").Buckets} Buckets
 * @typedef {import("../../types/live_messages").Delta} Delta
 * @typedef {import("../../types/live_messages").Reset} Reset
 * @typedef {import("../../types/live_messages").JobRow} JobRow
 * @typedef {import("../../types/live_messages").Refused} Refused
 * @typedef {import("../../types/live_messages").Subscribe} Subscribe
 * @typedef {import("../../types/live_messages").ClientMessage} ClientMessage
 * @typedef {import("../../types/live_messages").ServerMessage} ServerMessage
 * @typedef {Points["y"][number]} Value
 * @typedef {Delta | Reset} Frame
 * @typedef {Required<Pick<Subscribe, "keys" | "since" | "width">> & {onFrame: (frame: Frame) => void,
 *   onRefused?: (message: string) => void}} Subscription
 * @typedef {"connecting" | "live" | "stalled" | "waiting" | "asleep" | "signed_out"} Status
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const HIDDEN_GRACE_MS = 30_000;
/** Close codes of the server. */
const NOT_SIGNED_IN = 4401;
const TOO_MANY_CONNECTIONS = 4429;
const FINISHED_STATES = ["stopped", "completed", "failed"];

/**
 * @param {number} failures
 * @returns {number} milliseconds, exponential with jitter, so that not all tabs reconnect at once
 */
export function backoff(failures) {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** @returns {string} */
function liveAddress() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/`;
}

/**
 * @param {{address?: string, Socket?: typeof WebSocket, page?: Document}} [options] replaced in
 *   tests
 */
export function openLive({ address = liveAddress(), Socket = WebSocket, page = document } = {}) {
  /** @type {Map<string, Subscription>} */
  const runs = new Map();
  /** @type {Map<string, string>} run → its state in the last message */
  const states = new Map();
  /** @type {((rows: Row[], removed: boolean) => void) | null} */
  let onList = null;
  /** @type {((rows: JobRow[]) => void) | null} */
  let onJobs = null;
  let activeJobs = 0;
  /** @type {WebSocket | null} */
  let socket = null;
  let failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {(status: Status) => void} */
  let onStatus = () => {};
  const isActive = () =>
    activeJobs > 0 || [...states.values()].some((state) => !FINISHED_STATES.includes(state));
  const watch = watchConnection({ ping: () => send({ type: "ping" }), reconnect, isActive });

  /** @param {ClientMessage} message */
  function send(message) {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message));
  }

  /** @param {string} run @param {Subscription} subscription */
  function subscribe(run, { keys, since, width }) {
    send({ type: "subscribe", run, keys, since, width });
  }

  function hasNoSubscription() {
    return !runs.size && !onList && !onJobs;
  }

  function connect() {
    if (socket || hasNoSubscription()) return;
    clearTimeout(timer);
    onStatus("connecting");
    const newSocket = new Socket(address);
    socket = newSocket;
    newSocket.onopen = () => {
      watch.start();
      runs.forEach((subscription, run) => subscribe(run, subscription));
      if (onList) send({ type: "subscribe_list" });
      if (onJobs) send({ type: "subscribe_jobs" });
    };
    // A socket that was replaced may still deliver messages and its close: they are ignored.
    newSocket.onmessage = (event) => {
      if (socket === newSocket) receive(JSON.parse(event.data));
    };
    newSocket.onclose = ({ code }) => {
      if (socket === newSocket) retry(code);
    };
  }

  /** @param {number} code why the connection was closed */
  function retry(code) {
    disconnect();
    onStatus(code === NOT_SIGNED_IN ? "signed_out" : "waiting");
    if (code === NOT_SIGNED_IN) return;
    timer = setTimeout(
      connect,
      code === TOO_MANY_CONNECTIONS ? LONGEST_DELAY_MS : backoff(failures++),
    );
  }

  function disconnect() {
    const oldSocket = socket;
    socket = null;
    clearTimeout(timer);
    watch.stop();
    oldSocket?.close();
  }

  function reconnect() {
    disconnect();
    connect();
  }

  function sleep() {
    disconnect();
    onStatus("asleep");
  }

  /** @param {ServerMessage} frame */
  function receive(frame) {
    failures = 0;
    watch.messageReceived();
    if ("now" in frame) setServerTime(frame.now);
    onStatus(frame.type === "stalled" ? "stalled" : "live");
    if (frame.type === "runs") {
      frame.rows.forEach((row) => states.set(row.run, row.state));
      onList?.(frame.rows, frame.removed ?? false);
    } else if (frame.type === "jobs") {
      activeJobs = frame.rows.length;
      onJobs?.(frame.rows);
    } else if (frame.type === "refused") refuse(frame);
    else if (frame.type === "delta" || frame.type === "reset") deliver(frame);
  }

  /** @param {Refused} frame */
  function refuse({ run, message }) {
    const subscription = runs.get(run);
    runs.delete(run);
    states.delete(run);
    subscription?.onRefused?.(message);
    if (hasNoSubscription()) sleep();
  }

  /** @param {Frame} frame */
  function deliver(frame) {
    const subscription = runs.get(frame.run);
    if (!subscription) return;
    states.set(frame.run, frame.state.state);
    if (frame.type === "delta" && frame.cursor <= subscription.since) return;
    // A large update comes in several parts: only the last one moves the cursor.
    if (frame.part === frame.parts - 1) subscription.since = frame.cursor;
    subscription.onFrame(frame);
  }

  page.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (page.visibilityState === "hidden") timer = setTimeout(sleep, HIDDEN_GRACE_MS);
    else connect();
  });

  return {
    /**
     * Subscribe to a run from `since` on; replaces an earlier subscription to it.
     * @param {string} run
     * @param {Subscription} subscription
     */
    follow(run, subscription) {
      runs.set(run, subscription);
      if (socket) subscribe(run, subscription);
      else connect();
    },
    /** @param {string} run */
    unfollow(run) {
      runs.delete(run);
      states.delete(run);
      send({ type: "unsubscribe", run });
    },
    /**
     * Subscribe to the list of all runs that this person can see.
     * @param {(rows: Row[], removed: boolean) => void} listener `removed`: a run is not listed any more
     */
    followList(listener) {
      onList = listener;
      if (socket) send({ type: "subscribe_list" });
      else connect();
    },
    /**
     * Subscribe to all jobs of the team that are not finished.
     * @param {(rows: JobRow[]) => void} listener
     */
    followJobs(listener) {
      onJobs = listener;
      if (socket) send({ type: "subscribe_jobs" });
      else connect();
    },
    /** @param {(status: Status) => void} listener */
    onStatusChange(listener) {
      onStatus = listener;
    },
  };
}

/** @typedef {ReturnType<typeof openLive>} Live */

/**
 * The live connection: one WebSocket per page that continues from a cursor after every interruption.
 *
 * A subscription holds the cursor of the last frame that it has seen; after a reconnect it asks for everything past it, so nothing is lost and
 * what arrives twice is dropped. The server pushes; nothing is polled, and a tab that nobody looks at lets the connection go after a while.
 */

/**
 * @typedef {{key: string, x: number[], y: (number | string | null)[]}} SeriesDelta
 * @typedef {{type: "delta" | "reset", run: string, cursor: number, series: any[], changed?: string[], state: Record<string, any>}} Frame
 * @typedef {{keys: string[] | null, width: number, since: number, onFrame: (frame: Frame) => void, onRefused?: (message: string) => void}} Subscription
 * @typedef {"connecting" | "live" | "waiting" | "asleep"} Status
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const HIDDEN_GRACE_MS = 30_000;

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
  /** @type {((rows: Record<string, any>[]) => void) | null} */
  let onList = null;
  /** @type {WebSocket | null} */
  let socket = null;
  let failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {(status: Status) => void} */
  let onStatus = () => {};

  /** @param {object} message */
  function send(message) {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message));
  }

  /** @param {string} run @param {Subscription} subscription */
  function subscribe(run, { keys, since, width }) {
    send({ type: "subscribe", run, keys, since, width });
  }

  function connect() {
    if (socket || (!runs.size && !onList)) return;
    clearTimeout(timer);
    onStatus("connecting");
    const opened = new Socket(address);
    socket = opened;
    opened.onopen = () => {
      runs.forEach((subscription, run) => subscribe(run, subscription));
      if (onList) send({ type: "subscribe_list" });
    };
    opened.onmessage = (event) => receive(JSON.parse(event.data));
    opened.onclose = () => {
      if (socket === opened) retry();
    };
  }

  function retry() {
    socket = null;
    onStatus("waiting");
    timer = setTimeout(connect, backoff(failures++));
  }

  function sleep() {
    const open = socket;
    socket = null;
    clearTimeout(timer);
    open?.close();
    onStatus("asleep");
  }

  /** @param {any} frame */
  function receive(frame) {
    failures = 0;
    onStatus("live");
    if (frame.type === "runs") onList?.(frame.rows);
    const subscription = runs.get(frame.run);
    if (!subscription) return;
    if (frame.type === "refused") {
      runs.delete(frame.run);
      subscription.onRefused?.(frame.message);
    } else if (frame.type === "reset" || frame.cursor > subscription.since) {
      subscription.since = frame.cursor;
      subscription.onFrame(frame);
    }
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
      send({ type: "unsubscribe", run });
    },
    /** Hear of every run that this person can see. @param {(rows: Record<string, any>[]) => void} listener */
    followList(listener) {
      onList = listener;
      if (socket) send({ type: "subscribe_list" });
      else connect();
    },
    /** @param {(status: Status) => void} listener */
    whenStatusChanges(listener) {
      onStatus = listener;
    },
  };
}

/** @typedef {ReturnType<typeof openLive>} Live */

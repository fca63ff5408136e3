/**
 * Detects a connection that is open but dead.
 *
 * After a laptop slept or a network changed, a WebSocket may look open for ever. After a sleep the
 * connection is opened again. A connection that has been quiet for long while a run is active gets
 * a ping, and is opened again if no answer comes.
 */

const CHECK_MS = 5000;
// Timers do not run while a laptop sleeps: a gap of this length between two checks means that it
// slept.
const SLEEP_GAP_MS = 30_000;
const QUIET_MS = 45_000;
const PONG_TIMEOUT_MS = 10_000;

/** @param {{ping: () => void, reconnect: () => void, isActive: () => boolean}} actions */
export function watchConnection({ ping, reconnect, isActive }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let lastCheck = 0;
  let lastMessage = 0;
  /** When the unanswered ping was sent; 0 if there is none. */
  let pingSent = 0;

  function check() {
    const now = Date.now();
    const slept = now - lastCheck > SLEEP_GAP_MS;
    lastCheck = now;
    if (slept || (pingSent && now - pingSent > PONG_TIMEOUT_MS)) return reconnect();
    if (!pingSent && isActive() && now - lastMessage > QUIET_MS) {
      pingSent = now;
      ping();
    }
    timer = setTimeout(check, CHECK_MS);
  }

  return {
    start() {
      clearTimeout(timer);
      lastCheck = lastMessage = Date.now();
      pingSent = 0;
      timer = setTimeout(check, CHECK_MS);
    },
    messageReceived() {
      lastMessage = Date.now();
      pingSent = 0;
    },
    stop() {
      clearTimeout(timer);
    },
  };
}

/**
 * The server's clock, estimated from its messages: a laptop whose clock is wrong must not call a
 * run silent.
 */

let offsetMs = 0;

/** @param {string} iso the time on the server's clock when it sent a message */
export function setServerTime(iso) {
  offsetMs = Date.parse(iso) - Date.now();
}

/** @returns {number} milliseconds since 1970, by the server's clock */
export function serverNow() {
  return Date.now() + offsetMs;
}

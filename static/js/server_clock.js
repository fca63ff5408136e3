/** The server's clock, as far as its frames have told it: a laptop that is minutes off must not call a run silent. */

let ahead = 0;

/** @param {string} iso what the server's clock showed just now */
export function setServerTime(iso) {
  ahead = Date.parse(iso) - Date.now();
}

/** @returns {number} milliseconds since 1970, by the server's clock */
export function serverNow() {
  return Date.now() + ahead;
}

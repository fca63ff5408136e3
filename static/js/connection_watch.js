/**
 * Whether a connection that says nothing still stands. A laptop that slept, or a network that went away without a word, leaves a socket that looks
 * open for ever: after a sleep it is opened anew, and one of which long nothing was heard while a run is at work is asked, and given up without an answer.
 */

const LOOK_MS = 5000;
const SLEPT_MS = 30_000;
const QUIET_MS = 45_000;
const ANSWER_MS = 10_000;

/** @param {{ask: () => void, renew: () => void, isAtWork: () => boolean}} parts */
export function watchConnection({ ask, renew, isAtWork }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let looked = 0;
  let lastHeard = 0;
  let asked = 0;

  function look() {
    const now = Date.now();
    const slept = now - looked > SLEPT_MS;
    looked = now;
    if (slept || (asked && now - asked > ANSWER_MS)) return renew();
    if (!asked && isAtWork() && now - lastHeard > QUIET_MS) {
      asked = now;
      ask();
    }
    timer = setTimeout(look, LOOK_MS);
  }

  return {
    begin() {
      clearTimeout(timer);
      looked = lastHeard = Date.now();
      asked = 0;
      timer = setTimeout(look, LOOK_MS);
    },
    heard() {
      lastHeard = Date.now();
      asked = 0;
    },
    end() {
      clearTimeout(timer);
    },
  };
}

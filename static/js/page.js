/**
 * Functions that pages share: data that the server put on a page, ages, events between scripts and
 * htmx.
 */

import { seconds } from "./format.js";
import { serverNow } from "./server_clock.js";

/** @param {string} id @returns {any} the JSON in the element, or null if there is none */
export function pageData(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent ?? "null") : null;
}

/** Between two events of one name. */
const EVENT_MS = 2000;
/** @type {Map<string, number>} */
const emittedAt = new Map();
/** @type {Set<string>} names of events that come when their time is up */
const delayed = new Set();

/**
 * Have elements with `hx-trigger="name from:body"` load again: now, or later if they did so just
 * now or still load, because what is loading may have been read before the change.
 * @param {string} name
 */
export function emit(name) {
  if (delayed.has(name)) return;
  const loading = document.querySelector(`.htmx-request[hx-trigger*="${name} from:body"]`);
  const wait = loading ? EVENT_MS : (emittedAt.get(name) ?? 0) + EVENT_MS - Date.now();
  if (wait > 0) {
    delayed.add(name);
    setTimeout(() => {
      delayed.delete(name);
      emit(name);
    }, wait);
    return;
  }
  emittedAt.set(name, Date.now());
  document.body.dispatchEvent(new CustomEvent(name));
}

/**
 * @param {ParentNode} root
 * @param {string} name
 * @param {string} text written into every [data-live=name]
 */
export function setLiveText(root, name, text) {
  root.querySelectorAll(`[data-live="${name}"]`).forEach((element) => {
    if (element.textContent !== text) element.textContent = text;
  });
}

export const ACTIVE = ["starting", "running", "stopping"];

/**
 * @param {string} state
 * @param {string | null | undefined} lastEvent time of the run's last event
 * @param {number} patience seconds
 * @returns {boolean} the same answer as `is_silent` in webapp/runs/status_text.py
 */
export function isSilent(state, lastEvent, patience) {
  return (
    ACTIVE.includes(state) &&
    lastEvent != null &&
    lastEvent !== "" &&
    serverNow() - Date.parse(lastEvent) > 1000 * patience
  );
}

/** Update the text of every <time data-age> every ten seconds, without a request. */
export function startAgeTimer() {
  setInterval(() => {
    document.querySelectorAll("time[data-age]").forEach((time) => {
      const age = (serverNow() - Date.parse(/** @type {HTMLTimeElement} */ (time).dateTime)) / 1000;
      time.textContent =
        age < 5 ? "just now" : `${seconds(age).replace(/^(\d+ \w+) .*/, "$1")} ago`;
    });
  }, 10_000);
}

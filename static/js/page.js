/** Small things that pages share: data that the server put on a page, ages that stay true, and news as DOM events. */

import { serverNow } from "./server_clock.js";
import { seconds } from "./format.js";

/** @param {string} id @returns {any} the JSON in the element, or null if there is none */
export function pageData(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent ?? "null") : null;
}

/** Tell the parts of the page that listen (hx-trigger) that something is new. @param {string} name */
export function emit(name) {
  document.body.dispatchEvent(new CustomEvent(name));
}

/** @param {ParentNode} root @param {string} name @param {string} text written into every [data-live=name] */
export function setLiveText(root, name, text) {
  root.querySelectorAll(`[data-live="${name}"]`).forEach((element) => {
    if (element.textContent !== text) element.textContent = text;
  });
}

export const ACTIVE = ["starting", "running", "stopping"];

/**
 * @param {string} state @param {string | null | undefined} lastEvent when the run was last heard of @param {number} patience seconds
 * @returns {boolean} as webapp/runs/status_text.py judges it
 */
export function isSilent(state, lastEvent, patience) {
  return ACTIVE.includes(state) && lastEvent != null && lastEvent !== "" && serverNow() - Date.parse(lastEvent) > 1000 * patience;
}

/** Keep every <time data-age> true, without asking the server. */
export function startAgeTimer() {
  setInterval(() => {
    document.querySelectorAll("time[data-age]").forEach((time) => {
      const passed = (serverNow() - Date.parse(/** @type {HTMLTimeElement} */ (time).dateTime)) / 1000;
      time.textContent = passed < 5 ? "just now" : `${seconds(passed).replace(/^(\d+ \w+) .*/, "$1")} ago`;
    });
  }, 10_000);
}

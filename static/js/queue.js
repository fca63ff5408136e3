/**
 * The queue and machines pages: they are fetched again when a run or job starts, ends or moves in
 * the queue; steps and counts are updated in place.
 * While a menu is open nothing is replaced, so that no button moves under the pointer.
 */

import { count } from "./format.js";
import { openLive } from "./live.js";
import { ACTIVE, emit, startAgeTimer, setLiveText } from "./page.js";

/** @type {Map<string, string>} the last known state of each run and job, by its id */
const states = new Map(
  [...rows()].map((row) => [row.dataset.run ?? row.dataset.job ?? "", row.dataset.state ?? ""]),
);
let hasFirstList = false;
let isRefreshDue = false;

function rows() {
  return /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("tr[data-state]"));
}

/** @param {string} kind @param {string} id @param {string} text */
function writeStep(kind, id, text) {
  const row = document.querySelector(`tr[data-${kind}="${CSS.escape(id)}"]`);
  if (row) setLiveText(row, "step", text);
}

/** @param {string} id @param {string} state @returns {boolean} whether the state has changed */
function hasChanged(id, state) {
  const before = states.get(id) ?? "";
  states.set(id, state);
  return before !== state;
}

/**
 * Whether the page has to be fetched for this run. Every message about a waiting run is about its
 * place in the queue.
 * @param {import("./live.js").Row} row
 */
function needsRefreshForRun({ run, state, word, step }) {
  writeStep("run", run, count(step));
  const isWaiting = state === "queued";
  const isListed = isWaiting || ACTIVE.includes(state);
  return hasChanged(run, isListed ? word : "") || (isWaiting && hasFirstList);
}

/** @param {import("./live.js").JobRow} row */
function needsRefreshForJob({ job, done, parts_done: partsDone, at_work: atWork }) {
  writeStep("job", job, count(done));
  return hasChanged(job, `${partsDone} ${atWork}`);
}

function isMenuOpen() {
  return document.querySelector("#queue details[open]") !== null;
}

function refresh() {
  isRefreshDue = isMenuOpen();
  if (!isRefreshDue) emit("queue:changed");
}

/** A menu may have been opened while the page was being fetched. @param {Event} event */
function keepOpenMenu(event) {
  const { detail } = /** @type {CustomEvent} */ (event);
  if (detail.requestConfig.verb !== "get" || !isMenuOpen()) return;
  detail.shouldSwap = false;
  isRefreshDue = true;
}

document.addEventListener("toggle", () => isRefreshDue && refresh(), true);
document.addEventListener("htmx:beforeSwap", keepOpenMenu);
startAgeTimer();
const live = openLive();
live.followList((runs) => {
  if (runs.map(needsRefreshForRun).some(Boolean)) refresh();
  hasFirstList = true;
});
live.followJobs((jobs) => {
  const hasEnded = [...rows()].some(
    (row) => row.dataset.job && !jobs.some(({ job }) => job === row.dataset.job),
  );
  if (jobs.map(needsRefreshForJob).some(Boolean) || hasEnded) refresh();
});

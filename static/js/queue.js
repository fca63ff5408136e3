/**
 * The queue and the machines: a run or a job that begins, ends or changes its place has the page
 * fetched again; steps and counts are written in place.
 * While a menu is open, nothing is moved under the pointer.
 */

import { count } from "./format.js";
import { openLive } from "./live.js";
import { ACTIVE, emit, startAgeTimer, setLiveText } from "./page.js";

/**
 * @type {Map<string, string>} how the runs and jobs stand, as the page shows them or as last heard
 */
const known = new Map(
  [...rows()].map((row) => [row.dataset.run ?? row.dataset.job ?? "", row.dataset.stands ?? ""]),
);
let begun = false;
let isDue = false;

function rows() {
  return /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("tr[data-stands]"));
}

/** @param {string} kind @param {string} id @param {string} shown */
function write(kind, id, shown) {
  const line = document.querySelector(`tr[data-${kind}="${CSS.escape(id)}"]`);
  if (line) setLiveText(line, "step", shown);
}

/** @param {string} id @param {string} stands @returns {boolean} whether that is news */
function changed(id, stands) {
  const before = known.get(id) ?? "";
  known.set(id, stands);
  return before !== stands;
}

/** News of a waiting run are of its place in the queue. @param {import("./live.js").Row} row */
function isNewsOfRun({ run, state, word, step }) {
  write("run", run, count(step));
  const waits = state === "queued";
  return changed(run, waits || ACTIVE.includes(state) ? word : "") || (waits && begun);
}

/** @param {import("./live.js").JobRow} row */
function isNewsOfJob({ job, done, parts_done: parts, at_work: atWork }) {
  write("job", job, count(done));
  return changed(job, `${parts} ${atWork}`);
}

function menuIsOpen() {
  return document.querySelector("#queue details[open]") !== null;
}

function look() {
  isDue = menuIsOpen();
  if (!isDue) emit("queue:changed");
}

/** A menu may have been opened while the page was on its way. @param {Event} event */
function spareMenu(event) {
  const { detail } = /** @type {CustomEvent} */ (event);
  if (detail.requestConfig.verb !== "get" || !menuIsOpen()) return;
  detail.shouldSwap = false;
  isDue = true;
}

document.addEventListener("toggle", () => isDue && look(), true);
document.addEventListener("htmx:beforeSwap", spareMenu);
startAgeTimer();
const live = openLive();
live.followList((found) => {
  if (found.map(isNewsOfRun).some(Boolean)) look();
  begun = true;
});
live.followJobs((found) => {
  const over = [...rows()].some(
    (row) => row.dataset.job && !found.some(({ job }) => job === row.dataset.job),
  );
  if (found.map(isNewsOfJob).some(Boolean) || over) look();
});

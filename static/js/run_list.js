/**
 * The list of runs: values are updated in place; a new or deleted run, another state, name or tag,
 * or a longer curve reloads the rows.
 */

import { count, percent, points } from "./format.js";
import { openLive } from "./live.js";
import { followMlflowLinks } from "./mlflow_links.js";
import { ACTIVE, emit, isSilent, pageData, setLiveText, startAgeTimer } from "./page.js";

const { phases, projects } = pageData("live-data");
const isUnfiltered = !new URLSearchParams(location.search).size;
/** @type {Set<string>} runs without a row here for which the rows have been reloaded */
const reloadedFor = new Set();

/**
 * @param {import("./live.js").Row} update
 * @returns {boolean} whether the rows must be reloaded
 */
function updateRow({ run, state, word, step, phase, summary, edits, last_event_at: lastEvent }) {
  const row = /** @type {HTMLElement | null} */ (
    document.querySelector(`tr[data-run="${CSS.escape(run)}"]`)
  );
  if (!row) return mayBeNew(run);
  setLiveText(row, "step", count(step));
  if (phase && ACTIVE.includes(state)) setLiveText(row, "phase", phases[phase] ?? phase);
  if (summary.pass_rate != null) setLiveText(row, "pass_rate", percent(summary.pass_rate));
  if (summary.difference != null)
    setLiveText(row, "difference", points(summary.difference.pass_rate));
  row.dataset.lastEvent = lastEvent ?? "";
  const bar = row.querySelector("progress");
  if (bar) bar.value = step;
  return (
    row.dataset.stateText !== word ||
    Number(row.dataset.edits) !== edits ||
    Number(row.dataset.sparkline) !== (summary.sparkline ?? []).length
  );
}

/**
 * True once per run: a run without a row may be new, but may as well be on an older page.
 * @param {string} run
 */
function mayBeNew(run) {
  const isFirstTime = isUnfiltered && !reloadedFor.has(run);
  reloadedFor.add(run);
  return isFirstTime;
}

function showSilence() {
  document.querySelectorAll("tr[data-run]").forEach((element) => {
    const row = /** @type {HTMLElement} */ (element);
    const silent = isSilent(
      row.dataset.state ?? "",
      row.dataset.lastEvent,
      Number(row.dataset.patience),
    );
    row.querySelector("[data-silent]")?.toggleAttribute("hidden", !silent);
    row.querySelector("[data-heard]")?.toggleAttribute("hidden", silent);
  });
}

startAgeTimer();
followMlflowLinks(projects);
setInterval(showSilence, 5000);
openLive().followList((rows, removed) => {
  // A run that comes back by an undo has no row here either.
  if (removed) reloadedFor.clear();
  if (rows.map(updateRow).some(Boolean) || removed) emit("runs:changed");
  showSilence();
});

/** The list of runs: figures are written in place; a new run, another state or a longer curve has the rows fetched again. */

import { count, percent, points } from "./format.js";
import { openLive } from "./live.js";
import { followMlflowLinks } from "./mlflow_links.js";
import { ACTIVE, emit, isSilent, startAgeTimer, pageData, setLiveText } from "./page.js";

const { phases, projects } = pageData("live-data");
const isWhole = !new URLSearchParams(location.search).size;
/** @type {Set<string>} */
const absent = new Set();

/** @param {Record<string, any>} row @returns {boolean} whether the row on the page is out of date beyond its figures */
function writeRow({ run, state, word, step, phase, summary, last_event_at: lastEvent }) {
  const row = /** @type {HTMLElement | null} */ (document.querySelector(`tr[data-run="${CSS.escape(run)}"]`));
  if (!row) return isNew(run);
  setLiveText(row, "step", count(step));
  if (phase && ACTIVE.includes(state)) setLiveText(row, "phase", phases[phase] ?? phase);
  if (summary.pass_rate != null) setLiveText(row, "pass_rate", percent(summary.pass_rate));
  if (summary.difference != null) setLiveText(row, "difference", points(summary.difference.pass_rate));
  row.dataset.lastEvent = lastEvent ?? "";
  const bar = row.querySelector("progress");
  if (bar) bar.value = step;
  return row.dataset.word !== word || Number(row.dataset.drawn) !== (summary.sparkline ?? []).length;
}

/** @param {string} run not on this page @returns {boolean} whether it may belong there: asked once, because it may as well be on an older page */
function isNew(run) {
  const first = isWhole && !absent.has(run);
  absent.add(run);
  return first;
}

function showSilence() {
  document.querySelectorAll("tr[data-run]").forEach((element) => {
    const row = /** @type {HTMLElement} */ (element);
    row.querySelector("[data-silent]")?.toggleAttribute("hidden", !isSilent(row.dataset.state ?? "", row.dataset.lastEvent, Number(row.dataset.patience)));
  });
}

startAgeTimer();
followMlflowLinks(projects);
setInterval(showSilence, 5000);
openLive().followList((rows) => {
  if (rows.map(writeRow).some(Boolean)) emit("runs:changed");
  showSilence();
});

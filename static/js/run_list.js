/**
 * The list of runs: values are updated in place; a new or deleted run, another state, name or tag,
 * or a longer curve reloads the rows.
 */

import { completeFields } from "./completion.js";
import { count, percent, points, seconds } from "./format.js";
import { openLive } from "./live.js";
import { followMlflowLinks } from "./mlflow_links.js";
import { ACTIVE, emit, isSilent, pageData, setLiveText, startAgeTimer } from "./page.js";
import { followSelection } from "./run_selection.js";

/** As often as the server reads the figures of a run that logs (webapp/ingest/figures.py). */
const FIGURES_MS = 10_000;
const { phases, projects, follows_new: followsNew, has_values: hasValues } = pageData("live-data");
let figuresShownAt = Date.now();
/** @type {Set<string>} runs without a row here for which the rows have been reloaded */
const reloadedFor = new Set();

/**
 * @param {import("./live.js").Row} update
 * @returns {boolean} whether the rows must be reloaded
 */
function updateRow({
  run,
  state,
  word,
  step,
  phase,
  eta_s: eta,
  summary,
  edits,
  last_event_at: lastEvent,
}) {
  const row = /** @type {HTMLElement | null} */ (
    document.querySelector(`tr[data-run="${CSS.escape(run)}"]`)
  );
  if (!row) return mayBeNew(run);
  setLiveText(row, "step", count(step));
  if (phase && ACTIVE.includes(state)) setLiveText(row, "phase", phases[phase] ?? phase);
  const isActive = ACTIVE.includes(state);
  const without = summary.final_evaluation_s == null ? ", without the final evaluation" : "";
  const left = eta == null ? "" : `${seconds(Math.round(eta))} left${without}`;
  setLiveText(row, "eta", isActive ? left : "");
  if (summary.pass_rate != null) setLiveText(row, "pass_rate", percent(summary.pass_rate));
  if (summary.difference != null)
    setLiveText(row, "difference", points(summary.difference.pass_rate));
  row.dataset.lastEvent = lastEvent ?? "";
  const bar = row.querySelector("progress");
  if (bar) bar.value = step;
  return (
    areFiguresDue() ||
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
  const isFirstTime = followsNew && !reloadedFor.has(run);
  reloadedFor.add(run);
  return isFirstTime;
}

/** @returns {boolean} whether columns of figures, which no message has, are to be read again */
function areFiguresDue() {
  const isDue = hasValues && Date.now() - figuresShownAt > FIGURES_MS;
  if (isDue) figuresShownAt = Date.now();
  return isDue;
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

/** On a narrow page the menus beside the filter are shown by a button. */
function foldFilters() {
  const toggle = document.querySelector(".filters-toggle");
  toggle?.addEventListener("click", () => {
    const isShown = toggle.getAttribute("aria-expanded") === "true";
    toggle.setAttribute("aria-expanded", String(!isShown));
  });
}

startAgeTimer();
completeFields();
foldFilters();
followSelection();
followMlflowLinks(projects);
setInterval(showSilence, 5000);
openLive().followList((rows, removed) => {
  // A run that comes back by an undo has no row here either.
  if (removed) reloadedFor.clear();
  if (rows.map(updateRow).some(Boolean) || removed) emit("runs:changed");
  showSilence();
});

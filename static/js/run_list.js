/** The list of runs: figures are written in place; a new run, another state or a longer curve has the rows fetched again. */

import { count, percent, points } from "./format.js";
import { openLive } from "./live.js";
import { announce, keepAges, pageData, writeLive } from "./page.js";

const { phases } = pageData("live-data");
const isWhole = !new URLSearchParams(location.search).size;

/** @param {Record<string, any>} row @returns {boolean} whether the row on the page is out of date beyond its figures */
function writeRow({ run, state, step, phase, summary }) {
  const row = /** @type {HTMLElement | null} */ (document.querySelector(`tr[data-run="${CSS.escape(run)}"]`));
  if (!row) return isWhole;
  writeLive(row, "step", count(step));
  if (phase && ["starting", "running", "stopping"].includes(state)) writeLive(row, "phase", phases[phase] ?? phase);
  if (summary.pass_rate != null) writeLive(row, "pass_rate", percent(summary.pass_rate));
  if (summary.difference != null) writeLive(row, "difference", points(summary.difference.pass_rate));
  const bar = row.querySelector("progress");
  if (bar) bar.value = step;
  return row.dataset.state !== state || Number(row.dataset.drawn) !== (summary.sparkline ?? []).length;
}

keepAges();
openLive().followList((rows) => {
  if (rows.map(writeRow).some(Boolean)) announce("runs:changed");
});

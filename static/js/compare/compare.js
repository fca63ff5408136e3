/** The charts of a comparison: a line for each run, on one of four axes. */

import { createChart, EMPTY_VIEW } from "../charts/chart.js";
import { extentOf, seriesOf } from "../charts/series.js";
import { pageData, startAgeTimer } from "../page.js";
import { onGrid } from "./grid.js";

/**
 * @typedef {import("../charts/columns.js").Declaration & {name: string}} ComparedChart
 * @typedef {import("../charts/chart.js").View} View
 * @typedef {{series: string, axis: View["axis"], charts: ComparedChart[]}} BoardData
 */

/** Lines of a chart from which on its legend scrolls. */
const MANY_LINES = 12;

const data = /** @type {BoardData} */ (pageData("board-data"));
/** @type {View} */
let view = { ...EMPTY_VIEW, axis: data.axis };
/** @type {Map<string, import("../charts/series.js").Series>} */
let store = new Map();
let requestNumber = 0;
const charts = data.charts.map((declaration) => {
  const figure = /** @type {HTMLElement} */ (document.getElementById(`chart-${declaration.id}`));
  if (declaration.lines.length > MANY_LINES) {
    figure.classList.add("compared-many");
    const legend = /** @type {HTMLElement} */ (figure.querySelector(".legend"));
    legend.tabIndex = 0;
    legend.setAttribute("aria-label", `Legend of ${declaration.title}`);
  }
  return createChart(figure, declaration, "compared", zoom);
});

async function load() {
  const number = ++requestNumber;
  if (!data.charts.length) return;
  const query = new URLSearchParams([
    ["axis", view.axis],
    ...data.charts.map((chart) => ["key", chart.name]),
  ]);
  if (view.from !== null) query.set("from", String(view.from));
  if (view.to !== null) query.set("to", String(view.to));
  const response = await fetch(`${data.series}&${query}`, {
    headers: { Accept: "application/json" },
  });
  // A newer request may have been sent while this one was on its way.
  if (!response.ok || response.redirected || number !== requestNumber) return;
  const answer = await response.json();
  store = new Map(
    answer.series.map((/** @type {any} */ series) => [
      `${series.run}/${series.key}`,
      seriesOf(series),
    ]),
  );
  show();
}

function show() {
  const extent = extentOf(store);
  view = { ...view, extent };
  const drawn = onGrid(store, view.from ?? extent?.[0] ?? 0, view.to ?? extent?.[1] ?? 0);
  for (const chart of charts) chart.show(drawn, view);
}

/** @param {number | null} from @param {number | null} to */
function zoom(from, to) {
  view = { ...view, from, to };
  document.querySelector("[data-zoom-out]")?.toggleAttribute("hidden", from === null);
  load();
}

/** @param {string} selector @param {(value: string) => void} action */
function onSelect(selector, action) {
  const select = /** @type {HTMLSelectElement | null} */ (document.querySelector(selector));
  select?.addEventListener("change", () => action(select.value));
}

onSelect("[data-axis]", (axis) => {
  view = { ...view, axis: /** @type {View["axis"]} */ (axis), from: null, to: null };
  store = new Map();
  const address = new URL(location.href);
  // A saved comparison without choices in its address shows those that were saved.
  if (!address.search) address.searchParams.set("chosen", "1");
  address.searchParams.set("axis", axis);
  history.replaceState(null, "", address);
  load();
});
onSelect("[data-smoothing]", (weight) => {
  view = { ...view, smoothing: Number(weight) };
  show();
});
document.querySelector("[data-zoom-out]")?.addEventListener("click", () => zoom(null, null));
load();
startAgeTimer();

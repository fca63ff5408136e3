/**
 * The charts of a comparison on one of four axes: a line for each run, or the mean of each group of
 * runs with its interval, and the parallel coordinates.
 */

import { createChart, EMPTY_VIEW } from "../charts/chart.js";
import { extentOf, seriesOf } from "../charts/series.js";
import { pageData, startAgeTimer } from "../page.js";
import { addressWith, choose } from "./choices.js";
import { startCoordinates } from "./coordinates.js";
import { onGrid } from "./grid.js";
import { groupSeries } from "./group_means.js";

/**
 * @typedef {import("../charts/columns.js").Declaration["lines"][number] & {id: string}} ComparedLine
 * @typedef {import("../charts/columns.js").Declaration & {name: string}} ComparedChart
 * @typedef {import("../charts/chart.js").View} View
 * @typedef {import("../charts/series.js").Series} Series
 * @typedef {{series: string, axis: View["axis"], smoothing: number, zoom: [number, number] | null,
 *   hidden: string[], charts: ComparedChart[], quantiles: number[]}} BoardData
 * `hidden` are ids of lines, which are the same in all charts.
 */

/** Significant digits of an end of the zoom in the address. */
const DIGITS = 8;
/** Lines of a chart from which on its legend scrolls. */
const MANY_LINES = 12;
const RETRY_MS = 5000;

const data = /** @type {BoardData} */ (pageData("board-data"));
/** @type {View} */
let view = {
  ...EMPTY_VIEW,
  axis: data.axis,
  smoothing: data.smoothing,
  from: data.zoom?.[0] ?? null,
  to: data.zoom?.[1] ?? null,
};
/** @type {Map<string, Series>} */
let store = new Map();
let requestNumber = 0;
const lines = /** @type {ComparedLine[]} */ (data.charts[0]?.lines ?? []);
/** Numbers of hidden lines, the same in all charts. @type {Set<number>} */
let hidden = new Set(lines.flatMap(({ id }, index) => (data.hidden.includes(id) ? [index] : [])));
const charts = data.charts.map((declaration) => {
  const figure = /** @type {HTMLElement} */ (document.getElementById(`chart-${declaration.id}`));
  if (declaration.lines.length > MANY_LINES) {
    figure.classList.add("compared-many");
    const legend = /** @type {HTMLElement} */ (figure.querySelector(".legend"));
    legend.tabIndex = 0;
    legend.setAttribute("aria-label", `Legend of ${declaration.title}`);
  }
  const chart = createChart(figure, declaration, "compared", zoom, toggle);
  if (hidden.size) chart.setHidden(hidden);
  return chart;
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
  // Too many slow pages are being made just now.
  if (response.status === 503) setTimeout(load, RETRY_MS);
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
  const drawn = new Map(
    data.charts
      .flatMap((chart) => chart.lines)
      .flatMap(({ key, of, low, high }) => {
        const series = store.get(key);
        if (!of || !low || !high) return series ? [[key, series]] : [];
        const group = groupSeries(
          of.flatMap((run) => store.get(run) ?? []),
          of.length,
          view.smoothing,
          data.quantiles,
        );
        return [
          [key, group.mean],
          [low, group.low],
          [high, group.high],
        ];
      }),
  );
  const placed = onGrid(drawn, view.from ?? extent?.[0] ?? 0, view.to ?? extent?.[1] ?? 0);
  for (const chart of charts) chart.show(new Map([...store, ...placed]), view);
}

/** @param {number} index of a line @param {boolean} only */
function toggle(index, only) {
  const others = lines.map((_, i) => i).filter((i) => i !== index);
  const isOnly = !hidden.has(index) && others.every((i) => hidden.has(i));
  if (only) hidden = new Set(isOnly ? [] : others);
  else {
    hidden = new Set(hidden);
    if (!hidden.delete(index)) hidden.add(index);
  }
  for (const chart of charts) chart.setHidden(hidden);
  const ids = lines.filter((_, i) => hidden.has(i)).map(({ id }) => id);
  choose("hidden", ids.join(","));
}

/** @param {number | null} from @param {number | null} to */
function zoom(from, to) {
  view = { ...view, from, to };
  document.querySelector("[data-zoom-out]")?.toggleAttribute("hidden", from === null);
  const ends = [from, to].map((end) => Number(end?.toPrecision(DIGITS)));
  choose("zoom", from === null || to === null ? "" : ends.join(":"));
  load();
}

/** @param {string} selector @param {(value: string) => void} action */
function onSelect(selector, action) {
  const select = /** @type {HTMLSelectElement | null} */ (document.querySelector(selector));
  select?.addEventListener("change", () => action(select.value));
}

onSelect("[data-axis]", (axis) => {
  view = { ...view, axis: /** @type {View["axis"]} */ (axis) };
  store = new Map();
  choose("axis", axis === "step" ? "" : axis);
  // A part of one axis is none of another.
  zoom(null, null);
});
onSelect("[data-smoothing]", (weight) => {
  view = { ...view, smoothing: Number(weight) };
  choose("smoothing", weight === "0" ? "" : weight);
  show();
});
// The lines are declared by the server.
onSelect("[data-lines]", (lines) =>
  location.assign(addressWith("lines", lines === "means" ? "" : lines)),
);
document.querySelector("[data-zoom-out]")?.addEventListener("click", () => zoom(null, null));
startCoordinates();
load();
startAgeTimer();

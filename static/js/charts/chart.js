/**
 * One chart: uPlot for the curves, and around it what a canvas lacks: a legend in text, a cursor for the keyboard that speaks, and a table.
 */

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { formatter, tick } from "../format.js";
import { columnsOf, PER_LINE } from "./columns.js";
import { listenToKeys } from "./keyboard.js";
import { createLegend } from "./legend.js";
import { drawBaseline, drawBroken, drawMarks } from "./marks.js";
import { colour, DASHES, faint, token, whenSchemeChanges } from "./palette.js";
import { fillTable } from "./table.js";

/**
 * @typedef {import("./columns.js").Declaration} Declaration
 * @typedef {{axis: "step" | "tokens" | "time" | "compute", smoothing: number, marks: import("./marks.js").Mark[], from: number | null, to: number | null, extent: [number, number] | null}} View
 * @typedef {(from: number | null, to: number | null) => void} Zoom
 */

const AXIS_FORMAT = { step: "count", tokens: "count", time: "seconds", compute: "count" };
const PLACES = { step: "at step", tokens: "at token", time: "after", compute: "at operation" };
const HEIGHT = 220;
/** Distances of ticks on an axis of steps, which are whole. */
const WHOLE = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** Distances of ticks on an axis of bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** @param {HTMLElement} figure @param {Declaration} declaration @param {string} sync @param {Zoom} zoom */
export function createChart(figure, declaration, sync, zoom) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
  const legend = createLegend(/** @type {HTMLElement} */ (figure.querySelector(".legend")), declaration);
  const table = /** @type {HTMLElement} */ (figure.querySelector("[data-table]"));
  let log = declaration.log;
  /** @type {View} */
  let view = { axis: "step", smoothing: 0, marks: [], from: null, to: null, extent: null };
  /** @type {Map<string, import("./series.js").Series>} */
  let store = new Map();
  /** @type {uPlot | null} */
  let plot = null;

  function build() {
    plot?.destroy();
    plot = new uPlot(optionsOf(), data(), holder);
    listenToKeys(holder, plot, { declaration, figure, axisFormat: axisFormat(), zoom });
  }

  /** @returns {any} */
  function data() {
    return columnsOf(declaration.lines, store, view.smoothing).map((column, i) => (log && i ? column.map(positive) : column));
  }

  function axisFormat() {
    return formatter(/** @type {any} */ (AXIS_FORMAT[view.axis]));
  }

  /** @returns {uPlot.Options} */
  function optionsOf() {
    const right = declaration.lines.find((line) => line.right);
    const range = declaration.format === "percent" ? shareRange : yRange;
    return {
      width: holder.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, right ? 0 : 12, 0, 0],
      cursor: { sync: { key: sync, setSeries: false, scales: ["x", null] }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { time: false, range: xRange }, y: { distr: log ? 3 : 1, ...(log ? {} : { range }) }, right: { range: yRange } },
      axes: [
        axis({ size: 30, values: ticks(/** @type {any} */ (AXIS_FORMAT[view.axis])), space: 64, ...(view.axis === "step" ? { incrs: WHOLE } : {}) }),
        axis({ size: widest, values: ticks(declaration.format, log), ...(declaration.format === "bytes" ? { incrs: BINARY } : {}) }),
        ...(right ? [axis({ scale: "right", side: 1, size: widest, grid: { show: false }, values: ticks(right.format ?? declaration.format) })] : []),
      ],
      series: [{}, ...declaration.lines.flatMap(seriesOfLine)],
      bands: declaration.lines.map((_, i) => ({ series: [1 + i * PER_LINE + 2, 1 + i * PER_LINE + 1], fill: () => faint(colour(i), 0.2) })),
      hooks: { draw: [decorate], setCursor: [tell], setSelect: [select] },
    };
  }

  /** All charts of a board span the same x. @returns {[number, number]} */
  function xRange() {
    const [low, high] = view.extent ?? [0, 1];
    const [from, to] = [view.from ?? low, view.to ?? high];
    return from < to ? [from, to] : [from, from + 1];
  }

  /** @param {uPlot} u */
  function decorate(u) {
    drawMarks(u, view.marks);
    for (const line of declaration.lines) {
      const series = store.get(line.key);
      if (line.baseline && series?.points) drawBaseline(u, series.mean[0], line.right ? "right" : "y");
      drawBroken(u, series?.broken ?? []);
    }
  }

  /** @param {uPlot} u */
  function tell(u) {
    const broken = declaration.lines.map((line) => Boolean(store.get(line.key)?.broken.length));
    legend.show(/** @type {any} */ (u.data), u.cursor.idx, broken, (x) => `${PLACES[view.axis]} ${axisFormat()(x)}`);
  }

  /** @param {uPlot} u */
  function select(u) {
    if (u.select.width < 6) return;
    const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    zoom(from, to);
  }

  function draw() {
    const drawn = declaration.lines.map((line) => store.get(line.key)).filter((series) => series !== undefined);
    const found = drawn.some((series) => series.points || series.broken.length);
    figure.classList.toggle("is-empty", !found);
    if (!found) return;
    if (plot) plot.setData(data());
    else build();
    if (plot) tell(plot);
    setText(figure, "[data-count]", countOf(drawn));
    if (!table.hidden && plot) fillTable(table, declaration, view.axis, /** @type {any} */ (plot.data));
  }

  new ResizeObserver(() => plot?.setSize({ width: holder.clientWidth, height: HEIGHT })).observe(holder);
  whenSchemeChanges(() => plot?.redraw());
  holder.addEventListener("dblclick", () => zoom(null, null));
  whenPressed(figure, "[data-log]", (on) => {
    log = on;
    if (plot) build();
  });
  whenPressed(figure, "[data-show-table]", (on) => {
    table.hidden = !on;
    if (on && plot) fillTable(table, declaration, view.axis, /** @type {any} */ (plot.data));
  });

  return {
    /** Let the canvas go; `show` draws it anew. */
    clear() {
      plot?.destroy();
      plot = null;
    },
    /** @param {Map<string, import("./series.js").Series>} series @param {View} shown */
    show(series, shown) {
      store = series;
      const rebuild = plot && view.axis !== shown.axis;
      view = shown;
      if (rebuild) build();
      draw();
    },
  };
}

/** @param {number} index of the line @returns {uPlot.Series[]} curve, low, high, raw */
function seriesOfLine(/** @type {import("./columns.js").Line} */ line, index) {
  const scale = line.right ? "right" : "y";
  const edge = { scale, stroke: "transparent", points: { show: false }, spanGaps: true };
  return [
    { scale, label: line.label, stroke: () => colour(index), width: 1.75, dash: DASHES[index], spanGaps: true, points: { size: 5 } },
    edge,
    { ...edge },
    { scale, stroke: () => faint(colour(index), 0.3), width: 1, points: { show: false }, spanGaps: true },
  ];
}

/** @param {uPlot.Axis} options @returns {uPlot.Axis} */
function axis(options) {
  const font = "12px system-ui, sans-serif";
  return { stroke: () => token("muted"), font, grid: { stroke: () => token("grid"), width: 1 }, ticks: { show: false }, ...options };
}

/** @param {import("../format.js").Format} format @param {boolean} [log] @returns {uPlot.Axis.Values} as many digits as the distance of two ticks needs */
function ticks(format, log = false) {
  return (_, values, _axis, _space, distance) => values.map((value) => (value == null ? "" : tick(value, log ? value : distance, format)));
}

/** Room around the values, also where they are all the same. @param {uPlot} _ @param {number} low @param {number} high @returns {uPlot.Range.MinMax} */
function yRange(_, low, high) {
  if (low == null) return [0, 1];
  const room = low === high ? Math.abs(low) / 2 || 0.05 : 0;
  return uPlot.rangeNum(low - (low ? room : 0), high + room, 0.1, true);
}

/** The same within 0 and 100 %, beyond which no share lies. @param {uPlot} u @param {number} low @param {number} high @returns {uPlot.Range.MinMax} */
function shareRange(u, low, high) {
  const [from, to] = yRange(u, low, high);
  return [Math.max(from ?? 0, 0), Math.min(to ?? 1, 1)];
}

/** As wide as its widest label. @param {uPlot} _ @param {string[] | null} labels @returns {number} */
function widest(_, labels) {
  return 16 + 7 * Math.max(3, ...(labels ?? []).map((label) => label?.length ?? 0));
}

/** @param {number | null} value a logarithmic axis has no place for the rest */
function positive(value) {
  return value != null && value > 0 ? value : null;
}

/** @param {import("./series.js").Series[]} drawn @returns {string} */
function countOf(drawn) {
  const points = drawn.reduce((sum, series) => sum + series.points, 0);
  const count = drawn.reduce((sum, series) => sum + series.count, 0);
  const thinned = Math.max(0, ...drawn.map((series) => series.thinned));
  if (thinned) return `${points.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points; min, max and mean of ${thinned} steps each are kept`;
  if (count && !points) return `${count.toLocaleString("en-GB")} points, none of them a finite number`;
  if (count > points) return `${points.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points, min and max kept`;
  return count === 1 ? "1 point" : `${count.toLocaleString("en-GB")} points`;
}

/** @param {HTMLElement} figure @param {string} selector @param {string} text */
function setText(figure, selector, text) {
  const element = figure.querySelector(selector);
  if (element) element.textContent = text;
}

/** A button that stays pressed. @param {HTMLElement} figure @param {string} selector @param {(on: boolean) => void} act */
function whenPressed(figure, selector, act) {
  const button = figure.querySelector(selector);
  button?.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    act(on);
  });
}

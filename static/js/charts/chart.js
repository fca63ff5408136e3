/**
 * One chart: uPlot draws the curves. A legend as text, a keyboard cursor for screen readers and a
 * table make up for what a canvas lacks.
 */

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { formatter, tick } from "../format.js";
import { columnsOf, PER_LINE } from "./columns.js";
import { listenToKeys } from "./keyboard.js";
import { createLegend } from "./legend.js";
import { drawBaseline, drawBroken, drawMarks } from "./marks.js";
import { colour, DASHES, faint, token, onSchemeChange } from "./palette.js";
import { fillTable } from "./table.js";

/**
 * @typedef {import("./columns.js").Declaration} Declaration
 * @typedef {{axis: "step" | "tokens" | "time" | "compute", smoothing: number, marks:
 *   import("./marks.js").Mark[], from: number | null, to: number | null, extent: [number, number] |
 *   null}} View
 * @typedef {(from: number | null, to: number | null) => void} Zoom
 */

const AXIS_FORMAT = { step: "count", tokens: "count", time: "seconds", compute: "count" };
/** Words before the cursor's position in the legend. */
const POSITION_LABELS = {
  step: "at step",
  tokens: "at token",
  time: "after",
  compute: "at operation",
};
const HEIGHT = 220;
/** Allowed distances between ticks on an axis of steps: whole numbers. */
const WHOLE_INCREMENTS = Array.from({ length: 13 }, (_, power) =>
  [1, 2, 5].map((digit) => digit * 10 ** power),
).flat();

/** Allowed distances between ticks on an axis of bytes: powers of two. */
const BYTE_INCREMENTS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/**
 * @param {HTMLElement} figure
 * @param {Declaration} declaration
 * @param {string} sync charts with the same value share the cursor
 * @param {Zoom} zoom
 */
export function createChart(figure, declaration, sync, zoom) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
  const legend = createLegend(
    /** @type {HTMLElement} */ (figure.querySelector(".legend")),
    declaration,
  );
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
    return columnsOf(declaration.lines, store, view.smoothing).map((column, i) =>
      log && i ? column.map(positive) : column,
    );
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
      cursor: {
        sync: { key: sync, setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        points: { size: 7 },
      },
      scales: {
        x: { time: false, range: xRange },
        y: { distr: log ? 3 : 1, ...(log ? {} : { range }) },
        right: { range: yRange },
      },
      axes: [
        axis({
          size: 30,
          values: ticks(/** @type {any} */ (AXIS_FORMAT[view.axis])),
          space: 64,
          ...(view.axis === "step" ? { incrs: WHOLE_INCREMENTS } : {}),
        }),
        axis({
          size: axisWidth,
          values: ticks(declaration.format, log),
          ...(declaration.format === "bytes" ? { incrs: BYTE_INCREMENTS } : {}),
        }),
        ...(right
          ? [
              axis({
                scale: "right",
                side: 1,
                size: axisWidth,
                grid: { show: false },
                values: ticks(right.format ?? declaration.format),
              }),
            ]
          : []),
      ],
      series: [{}, ...declaration.lines.flatMap(seriesOfLine)],
      bands: declaration.lines.map((_, i) => ({
        series: [1 + i * PER_LINE + 2, 1 + i * PER_LINE + 1],
        fill: () => faint(colour(i), 0.2),
      })),
      hooks: { draw: [decorate], setCursor: [updateLegend], setSelect: [select] },
    };
  }

  /** The same for all charts of a board. @returns {[number, number]} */
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
      if (line.baseline && series?.points)
        drawBaseline(u, series.mean[0], line.right ? "right" : "y");
      drawBroken(u, series?.broken ?? []);
    }
  }

  /** @param {uPlot} u */
  function updateLegend(u) {
    const hasBroken = declaration.lines.map((line) => Boolean(store.get(line.key)?.broken.length));
    legend.show(
      /** @type {any} */ (u.data),
      u.cursor.idx,
      hasBroken,
      (x) => `${POSITION_LABELS[view.axis]} ${axisFormat()(x)}`,
    );
  }

  /** @param {uPlot} u */
  function select(u) {
    // A click without a drag also selects a few pixels.
    if (u.select.width < 6) return;
    const [from, to] = [
      u.posToVal(u.select.left, "x"),
      u.posToVal(u.select.left + u.select.width, "x"),
    ];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    zoom(from, to);
  }

  function draw() {
    const allSeries = declaration.lines
      .map((line) => store.get(line.key))
      .filter((series) => series !== undefined);
    const hasValues = allSeries.some((series) => series.points || series.broken.length);
    figure.classList.toggle("is-empty", !hasValues);
    if (!hasValues) return;
    if (plot) plot.setData(data());
    else build();
    if (plot) updateLegend(plot);
    setText(figure, "[data-count]", pointCountText(allSeries));
    if (!table.hidden && plot)
      fillTable(table, declaration, view.axis, /** @type {any} */ (plot.data));
  }

  new ResizeObserver(() => plot?.setSize({ width: holder.clientWidth, height: HEIGHT })).observe(
    holder,
  );
  onSchemeChange(() => plot?.redraw());
  holder.addEventListener("dblclick", () => zoom(null, null));
  onToggle(figure, "[data-log]", (on) => {
    log = on;
    if (plot) build();
  });
  onToggle(figure, "[data-show-table]", (on) => {
    table.hidden = !on;
    if (on && plot) fillTable(table, declaration, view.axis, /** @type {any} */ (plot.data));
  });

  return {
    /** Free the canvas; `show` creates it again. */
    clear() {
      plot?.destroy();
      plot = null;
    },
    /** @param {Map<string, import("./series.js").Series>} series @param {View} newView */
    show(series, newView) {
      store = series;
      const rebuild = plot && view.axis !== newView.axis;
      view = newView;
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
    {
      scale,
      label: line.label,
      stroke: () => colour(index),
      width: 1.75,
      dash: DASHES[index],
      spanGaps: true,
      points: { size: 5 },
    },
    edge,
    { ...edge },
    {
      scale,
      stroke: () => faint(colour(index), 0.3),
      width: 1,
      points: { show: false },
      spanGaps: true,
    },
  ];
}

/** @param {uPlot.Axis} options @returns {uPlot.Axis} */
function axis(options) {
  const font = "12px system-ui, sans-serif";
  return {
    stroke: () => token("muted"),
    font,
    grid: { stroke: () => token("grid"), width: 1 },
    ticks: { show: false },
    ...options,
  };
}

/**
 * @param {import("../format.js").Format} format
 * @param {boolean} [log]
 * @returns {uPlot.Axis.Values} with as many digits as tell two ticks apart
 */
function ticks(format, log = false) {
  return (_, values, _axis, _space, distance) =>
    values.map((value) => (value == null ? "" : tick(value, log ? value : distance, format)));
}

/**
 * The values with a margin, also if they are all equal.
 * @param {uPlot} _
 * @param {number} low
 * @param {number} high
 * @returns {uPlot.Range.MinMax}
 */
function yRange(_, low, high) {
  if (low == null) return [0, 1];
  const margin = low === high ? Math.abs(low) / 2 || 0.05 : 0;
  return uPlot.rangeNum(low - (low ? margin : 0), high + margin, 0.1, true);
}

/**
 * Like yRange, limited to 0 to 100 %.
 * @param {uPlot} u
 * @param {number} low
 * @param {number} high
 * @returns {uPlot.Range.MinMax}
 */
function shareRange(u, low, high) {
  const [from, to] = yRange(u, low, high);
  return [Math.max(from ?? 0, 0), Math.min(to ?? 1, 1)];
}

/**
 * The width of an axis for its widest label.
 * @param {uPlot} _
 * @param {string[] | null} labels
 * @returns {number}
 */
function axisWidth(_, labels) {
  return 16 + 7 * Math.max(3, ...(labels ?? []).map((label) => label?.length ?? 0));
}

/** @param {number | null} value a logarithmic axis cannot show zero and negative values */
function positive(value) {
  return value != null && value > 0 ? value : null;
}

/**
 * @param {import("./series.js").Series[]} allSeries
 * @returns {string} how many points there are and how many are drawn
 */
function pointCountText(allSeries) {
  const points = allSeries.reduce((sum, series) => sum + series.points, 0);
  const count = allSeries.reduce((sum, series) => sum + series.count, 0);
  const thinned = Math.max(0, ...allSeries.map((series) => series.thinned));
  if (thinned)
    return `${points.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points; min, max and mean of ${thinned} steps each are stored`;
  if (count && !points)
    return `${count.toLocaleString("en-GB")} points, none of them a finite number`;
  if (count > points)
    return `${points.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points, with min and max`;
  return count === 1 ? "1 point" : `${count.toLocaleString("en-GB")} points`;
}

/** @param {HTMLElement} figure @param {string} selector @param {string} text */
function setText(figure, selector, text) {
  const element = figure.querySelector(selector);
  if (element) element.textContent = text;
}

/**
 * Make a toggle button.
 * @param {HTMLElement} figure
 * @param {string} selector
 * @param {(on: boolean) => void} action
 */
function onToggle(figure, selector, action) {
  const button = figure.querySelector(selector);
  button?.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    action(on);
  });
}

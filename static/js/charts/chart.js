/**
 * One chart: uPlot draws the curves. A legend as text, a keyboard cursor for screen readers and a
 * table make up for what a canvas lacks.
 */

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { formatter } from "../format.js";
import { columnsOf, keysOf, PER_LINE } from "./columns.js";
import { listenToKeys } from "./keyboard.js";
import { createLegend } from "./legend.js";
import { drawBaseline, drawBroken, drawMarks } from "./marks.js";
import { colour, dashes, faint, token, onSchemeChange } from "./palette.js";
import { extentOf, hasBuckets } from "./series.js";
import { linearTicks, logRange, logTicks, paddedRange, tickLabels, xRange } from "./scales.js";
import { areas, stacked } from "./stack.js";
import { fillTable } from "./table.js";

/**
 * @typedef {import("./columns.js").Declaration} Declaration
 * @typedef {{axis: "step" | "tokens" | "time" | "compute", smoothing: number, marks:
 *   import("./marks.js").Mark[], bases: Record<string, import("./marks.js").Base>, from: number |
 *   null, to: number | null, extent: [number, number] | null}} View
 * @typedef {(from: number | null, to: number | null) => void} Zoom
 */

const AXIS_FORMAT = { step: "step", tokens: "count", time: "seconds", compute: "count" };
/** Words before the cursor's position in the legend. */
const POSITION_LABELS = {
  step: "at step",
  tokens: "at token",
  time: "after",
  compute: "at operation",
};
const HEIGHT = 220;
/** Lines of a chart from which on their bands would cover each other. */
const MANY_LINES = 6;
/** Least distance between ticks, in pixels. */
const TICK_SPACE = { x: 64, y: 36 };
/** Width of a character of a tick label, and the space beside a label. */
const CHARACTER = 7;
const LABEL_GAP = 16;
/** @type {View} */
export const EMPTY_VIEW = {
  axis: "step",
  smoothing: 0,
  marks: [],
  bases: {},
  from: null,
  to: null,
  extent: null,
};

/**
 * @param {HTMLElement} figure
 * @param {Declaration} declaration
 * @param {string} sync charts with the same value share the cursor
 * @param {Zoom} zoom
 * @param {(index: number, only: boolean) => void} [toggle] makes the legend's names buttons; it is
 *   called with the number of a line, which `setHidden` then shows or hides
 */
export function createChart(figure, declaration, sync, zoom, toggle) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
  const legend = createLegend(
    /** @type {HTMLElement} */ (figure.querySelector(".legend")),
    declaration,
    toggle,
  );
  const table = /** @type {HTMLElement} */ (figure.querySelector("[data-table]"));
  let log = declaration.log;
  let view = EMPTY_VIEW;
  /** @type {Map<string, import("./series.js").Series>} */
  let store = new Map();
  /** All values; the plot has only those that its axis can show. @type {(number | null)[][]} */
  let columns = [];
  let hadValues = false;
  /** Numbers of lines that are not drawn. @type {Set<number>} */
  let hidden = new Set();
  /** @type {uPlot | null} */
  let plot = null;

  function build() {
    plot?.destroy();
    plot = new uPlot(optionsOf(), shownColumns(), holder);
    const context = { declaration, figure, axisFormat: axisFormat(), zoom, data: () => columns };
    listenToKeys(holder, plot, context);
  }

  function readColumns() {
    columns = columnsOf(declaration.lines, store, view.smoothing);
    // A range without points keeps its axes.
    if (!columns[0].length) columns = [ownRange(), ...columns.slice(1).map(() => [null, null])];
  }

  /** @returns {any} */
  function shownColumns() {
    if (declaration.stacked) return stacked(columns);
    return columns.map((column, i) => (log && i ? column.map(positive) : column));
  }

  function axisFormat() {
    return formatter(/** @type {any} */ (AXIS_FORMAT[view.axis]));
  }

  /** @returns {uPlot.Options} */
  function optionsOf() {
    const right = declaration.lines.find((line) => line.right);
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
        x: { time: false, range: ownRange },
        y: log
          ? { distr: 100, fwd: Math.log10, bwd: (power) => 10 ** power, range: yRange }
          : { range: yRange },
        right: { range: (_, low, high) => paddedRange(low, high) },
      },
      axes: [
        axis(/** @type {any} */ (AXIS_FORMAT[view.axis]), { size: 30, space: TICK_SPACE.x }),
        axis(declaration.format, { size: axisWidth }, log),
        ...(right
          ? [
              axis(right.format ?? declaration.format, {
                scale: "right",
                side: 1,
                size: axisWidth,
                grid: { show: false },
              }),
            ]
          : []),
      ],
      series: [
        {},
        ...declaration.lines.flatMap((line, i) => {
          const [curve, ...others] = seriesOfLine(line, i, !hidden.has(i));
          const isLowest = declaration.stacked && i === 0;
          return [isLowest ? { ...curve, fill: () => area(i) } : curve, ...others];
        }),
      ],
      bands: declaration.stacked ? areas(declaration.lines.length, area) : bandsOf(),
      hooks: { draw: [decorate], setCursor: [updateLegend], setSelect: [select] },
    };
  }

  /** @returns {uPlot.Band[]} of the lines that are drawn, unless there are many of them */
  function bandsOf() {
    const drawn = declaration.lines.flatMap((line, i) =>
      hidden.has(i) || line.thin ? [] : [{ line, i }],
    );
    return (drawn.length > MANY_LINES ? [] : drawn).map(({ line, i }) => ({
      series: [1 + i * PER_LINE + 2, 1 + i * PER_LINE + 1],
      fill: () => faint(colour(line.tint ?? i), 0.2),
    }));
  }

  /** The range of x: of the zoom, else the same for all charts of a board. */
  function ownRange() {
    const keys = keysOf(declaration.lines);
    const own = extentOf(new Map([...store].filter(([key]) => keys.includes(key))));
    const [low, high] = xRange(view.extent, own);
    const [from, to] = [view.from ?? low, view.to ?? high];
    /** @type {[number, number]} */
    const range = from < to ? [from, to] : [from, from + Math.max(1, Math.abs(from) * 1e-9)];
    return range;
  }

  /**
   * The values and the baselines, with a margin; shares are limited to 0 to 100 %.
   * @param {uPlot} _
   * @param {number | null} low
   * @param {number | null} high
   * @returns {[number, number]}
   */
  function yRange(_, low, high) {
    const bases = declaration.lines
      .filter((line) => line.baseline && !line.right)
      .flatMap((line) => (view.bases[line.key] ?? []).map(([, value]) => value))
      .filter((value) => !log || value > 0);
    const values = [low, high, ...bases].filter((value) => value != null);
    const ends = values.length ? [Math.min(...values), Math.max(...values)] : [null, null];
    if (log) return logRange(ends[0], ends[1]);
    const [from, to] = paddedRange(declaration.stacked ? 0 : ends[0], ends[1]);
    return declaration.format === "percent" ? [Math.max(from, 0), Math.min(to, 1)] : [from, to];
  }

  /** @param {uPlot} u */
  function decorate(u) {
    drawMarks(u, view.marks);
    for (const [i, line] of declaration.lines.entries()) {
      if (hidden.has(i)) continue;
      const base = line.baseline ? view.bases[line.key] : undefined;
      if (base?.length) drawBaseline(u, base, line.right ? "right" : "y");
      drawBroken(u, store.get(line.key)?.broken ?? []);
    }
  }

  /** @param {uPlot} u */
  function updateLegend(u) {
    const hasBroken = declaration.lines.map((line) => Boolean(store.get(line.key)?.broken.length));
    legend.show(
      columns,
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
    // A chart that had values keeps its axes where a zoom shows none of them.
    hadValues ||= hasValues;
    figure.classList.toggle("is-empty", !hadValues);
    if (!hadValues) return;
    readColumns();
    if (plot) plot.setData(shownColumns());
    else build();
    if (plot) updateLegend(plot);
    setText(figure, "[data-count]", countText());
    if (!table.hidden) fillTable(table, declaration, view.axis, hasValues ? columns : [[]]);
  }

  function countText() {
    const allSeries = declaration.lines
      .flatMap((line) => line.of ?? (line.thin ? [] : [line.key]))
      .flatMap((key) => store.get(key) ?? []);
    const text = pointCountText(allSeries);
    const unshown = allSeries.flatMap((series) => series.mean).filter((value) => value <= 0).length;
    return log && unshown ? `${text}; a log axis does not show ${unshown} of 0 or less` : text;
  }

  new ResizeObserver(() => plot?.setSize({ width: holder.clientWidth, height: HEIGHT })).observe(
    holder,
  );
  onSchemeChange(() => plot?.redraw());
  holder.addEventListener("dblclick", () => zoom(null, null));
  onToggle(figure, "[data-log]", (on) => {
    log = on;
    if (!plot) return;
    build();
    setText(figure, "[data-count]", countText());
  });
  onToggle(figure, "[data-show-table]", (on) => {
    table.hidden = !on;
    figure.classList.toggle("shows-table", on);
    if (on && hadValues) fillTable(table, declaration, view.axis, columns);
  });

  return {
    /** @param {Set<number>} lines numbers of the lines that are not drawn */
    setHidden(lines) {
      hidden = lines;
      legend.setHidden(hidden);
      if (plot) build();
      if (plot) updateLegend(plot);
    },
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

/** @param {number} index of a line @returns {string} colour of its area in a stacked chart */
function area(index) {
  return faint(colour(index), 0.55);
}

/**
 * @param {import("./columns.js").Line} line
 * @param {number} index of the line
 * @param {boolean} show
 * @returns {uPlot.Series[]} curve, low, high, raw
 */
function seriesOfLine(line, index, show) {
  const tint = line.tint ?? index;
  const scale = line.right ? "right" : "y";
  const edge = { scale, show, stroke: "transparent", points: { show: false }, spanGaps: true };
  return [
    {
      scale,
      show,
      label: line.label,
      stroke: () => (line.thin ? faint(colour(tint), 0.45) : colour(tint)),
      width: line.thin ? 1 : 1.75,
      dash: line.thin ? [] : dashes(tint),
      spanGaps: true,
      points: line.thin ? { show: false } : { size: 5 },
    },
    edge,
    { ...edge },
    {
      scale,
      show,
      stroke: () => faint(colour(tint), 0.3),
      width: 1,
      points: { show: false },
      spanGaps: true,
    },
  ];
}

/**
 * @param {import("../format.js").Format} format
 * @param {uPlot.Axis} options
 * @param {boolean} [log]
 * @returns {uPlot.Axis}
 */
function axis(format, options, log = false) {
  const font = "12px system-ui, sans-serif";
  return {
    stroke: () => token("muted"),
    font,
    grid: { stroke: () => token("grid"), width: 1 },
    ticks: { show: false },
    space: TICK_SPACE.y,
    // uPlot looks for a distance of its own; these are found by `splits`, for any range.
    incrs: (_u, _axis, low, high) => [Math.max(5, high - low)],
    splits: (u, index, low, high) =>
      index === 0
        ? xTicks(u.width, low, high, format)
        : (log ? logTicks : linearTicks)(low, high, HEIGHT / TICK_SPACE.y, format),
    filter: (_, values) => values,
    values: (_, values) => tickLabels(/** @type {number[]} */ (values), format, log),
    ...options,
  };
}

/**
 * Ticks of the x axis, so few that their labels do not touch.
 * @param {number} width
 * @param {number} low
 * @param {number} high
 * @param {import("../format.js").Format} format
 */
function xTicks(width, low, high, format) {
  let most = Math.max(1, Math.floor(width / TICK_SPACE.x));
  for (;;) {
    const ticks = linearTicks(low, high, most, format);
    const label = CHARACTER * widest(tickLabels(ticks, format)) + LABEL_GAP;
    if (most === 1 || label * ticks.length <= width) return ticks;
    most -= 1;
  }
}

/** @param {string[]} labels @returns {number} characters of the longest */
function widest(labels) {
  return Math.max(3, ...labels.map((label) => label?.length ?? 0));
}

/**
 * The width of an axis for its widest label.
 * @param {uPlot} _
 * @param {string[] | null} labels
 * @returns {number}
 */
function axisWidth(_, labels) {
  return LABEL_GAP + CHARACTER * widest(labels ?? []);
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
  if (!count) return "no points in this range";
  if (!points) return `${count.toLocaleString("en-GB")} points, none of them a finite number`;
  if (allSeries.some(hasBuckets))
    return `${points.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} points, with min and max`;
  if (count > points)
    return `${count.toLocaleString("en-GB")} points, ${(count - points).toLocaleString("en-GB")} of them no finite number`;
  return count === 1 ? "1 point" : `${count.toLocaleString("en-GB")} points`;
}

/** @param {HTMLElement} figure @param {string} selector @param {string} text */
function setText(figure, selector, text) {
  const element = /** @type {HTMLElement | null} */ (figure.querySelector(selector));
  if (!element) return;
  element.textContent = text;
  element.title = text;
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

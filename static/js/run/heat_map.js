/**
 * The frontier's heat map as SVG: a column per measurement, a row per pass rate, darker for more
 * problems. The weight w(p) is at the right.
 *
 * Arrow keys and the pointer move a marker over the cells; the values of its cell are passed to
 * `onCell`.
 */

import { count, percent } from "../format.js";

/**
 * @typedef {{step: number, counts: number[], mastered: number, frontier: number, hopeless: number}}
 *   Column
 * @typedef {{levels: number[], columns: Column[], weight: [number, number][], total_steps: number |
 *   null}} Heat
 */

const SVG = "http://www.w3.org/2000/svg";
const BOX = { left: 52, top: 8, height: 260, gap: 14, bottom: 40 };
/** The weight curve takes this share of the width, up to a maximum in pixels. */
const WEIGHT = { share: 0.2, maxWidth: 110 };

/** @param {HTMLElement} container @param {Heat} heat @param {(text: string) => void} onCell */
export function drawHeatMap(container, heat, onCell) {
  const width = Math.max(300, container.clientWidth);
  const weightWidth = Math.min(WEIGHT.maxWidth, WEIGHT.share * width);
  const plot = {
    left: BOX.left,
    top: BOX.top,
    width: width - BOX.left - BOX.gap - weightWidth,
    height: BOX.height,
  };
  const svg = element("svg", {
    viewBox: `0 0 ${width} ${BOX.top + BOX.height + BOX.bottom}`,
    tabindex: "0",
    role: "application",
    "aria-roledescription": "heat map",
    "aria-label": summary(heat),
  });
  const cell = {
    width: plot.width / heat.columns.length,
    height: plot.height / heat.levels.length,
  };
  const maxCount = Math.max(1, ...heat.columns.flatMap((column) => column.counts));
  svg.append(
    element("rect", {
      class: "field",
      x: plot.left,
      y: plot.top,
      width: plot.width,
      height: plot.height,
    }),
  );
  heat.columns.forEach((column, i) => {
    column.counts.forEach((number, level) => {
      if (!number) return;
      svg.append(
        element("rect", {
          class: "cell",
          x: plot.left + i * cell.width,
          y: topOf(plot, cell.height, heat, level),
          width: Math.max(cell.width - 1, 0.5),
          height: cell.height - 1,
          "fill-opacity": (0.12 + 0.88 * Math.sqrt(number / maxCount)).toFixed(3),
        }),
      );
    });
  });
  svg.append(
    ...rateAxis(plot),
    ...stepAxis(plot, heat, cell.width),
    ...weightCurve(plot, heat, weightWidth),
  );
  listen(svg, heat, plot, cell, onCell);
  container.replaceChildren(svg);
}

/** @param {Heat} heat @returns {string} */
export function summary({ columns }) {
  const last = columns[columns.length - 1];
  return `Tracked problems by pass rate over ${columns.length} measurements. At step ${count(last.step)}: ${percent(last.hopeless)} hopeless, ${percent(last.frontier)} at the frontier, ${percent(last.mastered)} mastered. Arrow keys move between cells.`;
}

/**
 * @param {SVGElement} svg
 * @param {Heat} heat
 * @param {any} plot
 * @param {{width: number, height: number}} cell
 * @param {(text: string) => void} onCell
 */
function listen(svg, heat, plot, cell, onCell) {
  const marker = element("rect", {
    class: "marker",
    width: cell.width,
    height: cell.height,
    visibility: "hidden",
  });
  svg.append(marker);
  let current = { i: heat.columns.length - 1, level: 0 };

  /** @param {number} i @param {number} level */
  function show(i, level) {
    current = { i: clamp(i, heat.columns.length), level: clamp(level, heat.levels.length) };
    const { step, counts } = heat.columns[current.i];
    const total = counts.reduce((sum, number) => sum + number, 0) || 1;
    setAttributes(marker, {
      x: plot.left + current.i * cell.width,
      y: topOf(plot, cell.height, heat, current.level),
      visibility: "visible",
    });
    onCell(
      `Step ${count(step)}, pass rate ${percent(heat.levels[current.level])}: ${counts[current.level]} problems, ${percent(counts[current.level] / total)} of the tracked problems`,
    );
  }

  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
      event.key
    ];
    if (!move) return;
    event.preventDefault();
    show(current.i + move[0], current.level + move[1]);
  });
  svg.addEventListener("pointermove", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      /** @type {SVGGraphicsElement} */ (svg).getScreenCTM()?.inverse(),
    );
    const i = Math.floor((point.x - plot.left) / cell.width);
    const level = heat.levels.length - 1 - Math.floor((point.y - plot.top) / cell.height);
    if (heat.columns[i] && heat.levels[level] !== undefined) show(i, level);
  });
}

/** @param {any} plot @param {number} height @param {Heat} heat @param {number} level */
function topOf(plot, height, heat, level) {
  return plot.top + (heat.levels.length - 1 - level) * height;
}

/** @param {any} plot */
function rateAxis(plot) {
  return [0, 0.25, 0.5, 0.75, 1].map((rate) =>
    text(
      plot.left - 8,
      plot.top + plot.height * (1 - rate) + (rate === 1 ? 10 : rate ? 4 : 0),
      `${100 * rate} %`,
      "end",
    ),
  );
}

/** @param {any} plot @param {Heat} heat @param {number} width */
function stepAxis(plot, { columns }, width) {
  // A label needs about 64 pixels.
  const labelEvery = Math.ceil(columns.length / Math.max(1, Math.floor(plot.width / 64)));
  const ticks = columns.flatMap(({ step }, i) =>
    i % labelEvery
      ? []
      : [text(plot.left + (i + 0.5) * width, plot.top + plot.height + 18, count(step), "middle")],
  );
  return [
    ...ticks,
    text(plot.left + plot.width / 2, plot.top + plot.height + 36, "step", "middle"),
  ];
}

/** @param {any} plot @param {Heat} heat @param {number} width */
function weightCurve(plot, { weight }, width) {
  if (!weight.length) return [];
  const left = plot.left + plot.width + BOX.gap;
  const line = weight
    .map(
      ([p, w]) =>
        `${(left + w * (width - 6)).toFixed(1)},${(plot.top + plot.height * (1 - p)).toFixed(1)}`,
    )
    .join(" ");
  return [
    element("line", {
      class: "axis-line",
      x1: left,
      x2: left,
      y1: plot.top,
      y2: plot.top + plot.height,
    }),
    element("polyline", { class: "weight", points: line }),
    text(left, plot.top + plot.height + 18, "w(p)", "start"),
  ];
}

/** @param {number} x @param {number} y @param {string} content @param {string} anchor */
function text(x, y, content, anchor) {
  const label = element("text", { x, y, "text-anchor": anchor });
  label.textContent = content;
  return label;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElement}
 */
function element(name, attributes) {
  const node = document.createElementNS(SVG, name);
  setAttributes(node, attributes);
  return node;
}

/** @param {SVGElement} target @param {Record<string, string | number>} attributes */
function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, String(value));
}

/** @param {number} value @param {number} length */
function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, value));
}

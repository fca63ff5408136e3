/**
 * Marks over the curves: stage switches, checkpoints, restarts, the baseline and values that are
 * not numbers.
 */

import { token } from "./palette.js";

/**
 * @typedef {{x: number, kind: "stage" | "checkpoint" | "restart", label: string}} Mark
 * @typedef {[number, number][]} Base x of each evaluation with the pass rate, before training, of
 *   the problems that were evaluated there
 * @typedef {import("../../vendor/uplot/uPlot.esm.js").default} Plot
 */

const DASH = { stage: [], checkpoint: [1, 4], restart: [6, 4] };

/** @param {Plot} plot @param {Mark[]} marks */
export function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  /** Right end of the last label: labels must not overlap. */
  let labelEnd = -Infinity;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  for (const { x, kind, label } of marks) {
    const left = plot.valToPos(x, "x", true);
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    line(
      ctx,
      left,
      bbox,
      token(kind === "restart" ? "warn" : "line-strong"),
      DASH[kind].map((dash) => dash * ratio),
    );
    if (kind === "checkpoint" || left < labelEnd) continue;
    ctx.fillStyle = token(kind === "restart" ? "warn" : "muted");
    const width = ctx.measureText(label).width;
    const start = Math.min(left + 4 * ratio, bbox.left + bbox.width - width);
    ctx.fillText(label, start, bbox.top + 11 * ratio);
    labelEnd = start + width + 8 * ratio;
  }
  ctx.restore();
}

/**
 * Draw the pass rate before training: level from one evaluation to the next, and higher or lower
 * where other problems were evaluated.
 * @param {Plot} plot
 * @param {Base} base
 * @param {string} scale
 */
export function drawBaseline(plot, base, scale) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const right = bbox.left + bbox.width;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = ctx.fillStyle = token("muted");
  ctx.setLineDash([3 * ratio, 4 * ratio]);
  ctx.lineWidth = ratio;
  ctx.beginPath();
  let top = 0;
  base.forEach(([x, value], i) => {
    top = plot.valToPos(value, scale, true);
    const from = i ? plot.valToPos(base[i - 1][0], "x", true) : bbox.left;
    const to = i + 1 < base.length ? plot.valToPos(x, "x", true) : right;
    ctx.lineTo(Math.min(from, right), top);
    ctx.lineTo(Math.max(from, to), top);
  });
  ctx.stroke();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "alphabetic";
  // Above a line at the bottom of the plot, where there is no room below.
  const isLow = top + 16 * ratio > bbox.top + bbox.height;
  ctx.fillText("base", right - 3 * ratio, isLow ? top - 4 * ratio : top + 12 * ratio);
  ctx.restore();
}

/**
 * Draw a cross at the top for each value that is not a number.
 * @param {Plot} plot
 * @param {number[]} xs
 */
export function drawBroken(plot, xs) {
  const { ctx, bbox } = plot;
  const arm = 4 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = token("bad");
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const x of xs) {
    const left = plot.valToPos(x, "x", true);
    // Beside the plot there are labels.
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    const top = bbox.top + 2 * arm;
    ctx.beginPath();
    ctx.moveTo(left - arm, top - arm);
    ctx.lineTo(left + arm, top + arm);
    ctx.moveTo(left + arm, top - arm);
    ctx.lineTo(left - arm, top + arm);
    ctx.stroke();
  }
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} left
 * @param {{top: number, height: number}} box
 * @param {string} stroke
 * @param {number[]} dash
 */
function line(ctx, left, { top, height }, stroke, dash) {
  ctx.strokeStyle = stroke;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(left, top);
  ctx.lineTo(left, top + height);
  ctx.stroke();
}

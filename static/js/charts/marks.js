/**
 * Marks over the curves: stage switches, checkpoints, restarts, the baseline and values that are
 * not numbers.
 */

import { token } from "./palette.js";

/**
 * @typedef {{x: number, kind: "stage" | "checkpoint" | "restart", label: string}} Mark
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

/** @param {Plot} plot @param {number} value @param {string} scale */
export function drawBaseline(plot, value, scale) {
  const { ctx, bbox } = plot;
  const top = plot.valToPos(value, scale, true);
  if (!(top >= bbox.top && top <= bbox.top + bbox.height)) return;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = token("muted");
  ctx.setLineDash([3 * ratio, 4 * ratio]);
  ctx.lineWidth = ratio;
  ctx.beginPath();
  ctx.moveTo(bbox.left, top);
  ctx.lineTo(bbox.left + bbox.width, top);
  ctx.stroke();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "alphabetic";
  ctx.fillText("base", bbox.left + bbox.width - 3 * ratio, top + 12 * ratio);
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

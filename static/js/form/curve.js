/**
 * The curve w(p) beside the form, redrawn on each change of α and β. A dot marks each pass rate
 * that K rollouts can show.
 */

import { numberOf, valueOf } from "./fields.js";
import { possibleWeights, weigh } from "./weights.js";

const WIDTH = 320;
const HEIGHT = 130;
const TOP = 6;
const LEFT = 8;
const BOTTOM = 18;
const POINTS = 160;
// More dots than this would overlap.
const MAX_DOTS = 64;

/** @typedef {import("./weights.js").Weighting} Weighting */

/**
 * @param {HTMLElement} form
 * @returns {Weighting | null} null while one of its numbers is not valid
 */
export function weightingOf(form) {
  const setting = (/** @type {string} */ name) => numberOf(form, `pool.weighting.${name}`);
  const kind = valueOf(form, "pool.weighting.kind") ?? "";
  if (kind === "paced")
    return validated({
      kind,
      alpha: setting("alpha"),
      beta: setting("beta"),
      floor: setting("floor"),
    });
  if (kind === "hard_filter")
    return validated({ kind, low: setting("low"), high: setting("high") });
  return { kind };
}

/**
 * @param {Weighting} weighting
 * @returns {Weighting | null} null if a number is missing or negative
 */
function validated(weighting) {
  const numbers = Object.values(weighting).filter((value) => typeof value === "number");
  return numbers.every((value) => Number.isFinite(value) && value >= 0) ? weighting : null;
}

/** @param {HTMLElement} figure @param {HTMLElement} form */
export function drawCurve(figure, form) {
  const weighting = weightingOf(form);
  const rollouts = numberOf(form, "pool.rollouts_per_problem");
  const caption = /** @type {HTMLElement} */ (figure.querySelector("[data-curve-text]"));
  figure.toggleAttribute("data-stale", !weighting);
  if (!weighting) {
    caption.textContent = "The curve is shown when its settings are valid numbers.";
    return;
  }
  const rates = Array.from({ length: POINTS + 1 }, (_, index) => index / POINTS);
  const weights = rates.map((p) => weigh(p, weighting));
  const highest = Math.max(...weights) || 1;
  const line = rates
    .map((p, index) => `${index ? "L" : "M"}${x(p)} ${y(weights[index] / highest)}`)
    .join("");
  figure.querySelector("[data-curve-line]")?.setAttribute("d", line);
  figure
    .querySelector("[data-curve-area]")
    ?.setAttribute("d", `${line}L${x(1)} ${y(0)}L${x(0)} ${y(0)}Z`);
  drawDots(figure, weighting, rollouts, highest);
  caption.textContent = describeWeights(weighting, rollouts);
}

/**
 * @param {HTMLElement} figure
 * @param {Weighting} weighting
 * @param {number} rollouts
 * @param {number} highest the highest weight of the curve
 */
function drawDots(figure, weighting, rollouts, highest) {
  const group = /** @type {SVGElement} */ (figure.querySelector("[data-curve-dots]"));
  const dots =
    Number.isInteger(rollouts) && rollouts >= 1 && rollouts <= MAX_DOTS
      ? possibleWeights(weighting, rollouts)
      : [];
  group.replaceChildren(
    ...dots.map(({ p, weight }) => {
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: x(p), cy: y(weight / highest), r: 3 }))
        circle.setAttribute(name, String(value));
      return circle;
    }),
  );
}

/** @param {Weighting} weighting @param {number} rollouts @returns {string} */
export function describeWeights(weighting, rollouts) {
  if (weighting.kind === "uniform") return "All problems have the same weight.";
  if (weighting.kind === "hard_filter")
    return `Pass rates from ${weighting.low} to ${weighting.high} have equal weight, others none.`;
  const { alpha = 1, beta = 1 } = weighting;
  const peak =
    alpha + beta > 0
      ? `Highest weight at p = ${(alpha / (alpha + beta)).toFixed(2)}.`
      : "All problems have the same weight.";
  if (!Number.isInteger(rollouts) || rollouts < 1) return peak;
  const dropped = possibleWeights(weighting, rollouts)
    .filter(({ weight }) => weight === 0)
    .map(({ p }) => p);
  return dropped.length
    ? `${peak} Dropped: p = ${dropped.join(" and p = ")} of ${rollouts} rollouts.`
    : `${peak} No problem is dropped.`;
}

/** @param {number} p @returns {number} */
function x(p) {
  return Math.round((LEFT + p * (WIDTH - 2 * LEFT)) * 10) / 10;
}

/** @param {number} share of the highest weight @returns {number} */
function y(share) {
  return Math.round((TOP + (1 - share) * (HEIGHT - BOTTOM - TOP)) * 10) / 10;
}

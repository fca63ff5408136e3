/**
 * The curve w(p) beside the form, drawn while α and β move, with a dot at each pass rate that K
 * rollouts can show.
 */

import { numberOf, valueOf } from "./fields.js";
import { reachable, weigh } from "./weights.js";

const WIDTH = 320;
const HEIGHT = 130;
const LEFT = 8;
const BOTTOM = 18;
const POINTS = 160;
const MOST_DOTS = 64;

/** @typedef {import("./weights.js").Weighting} Weighting */

/** @param {HTMLElement} form @returns {Weighting | null} null while something in it is no number */
export function weightingOf(form) {
  const at = (/** @type {string} */ name) => numberOf(form, `pool.weighting.${name}`);
  const kind = valueOf(form, "pool.weighting.kind") ?? "";
  if (kind === "paced")
    return checked({ kind, alpha: at("alpha"), beta: at("beta"), floor: at("floor") });
  if (kind === "hard_filter") return checked({ kind, low: at("low"), high: at("high") });
  return { kind };
}

/** @param {Weighting} weighting @returns {Weighting | null} */
function checked(weighting) {
  const numbers = Object.values(weighting).filter((value) => typeof value === "number");
  return numbers.every((value) => Number.isFinite(value) && value >= 0) ? weighting : null;
}

/** @param {HTMLElement} figure @param {HTMLElement} form */
export function drawCurve(figure, form) {
  const weighting = weightingOf(form);
  const rollouts = numberOf(form, "pool.rollouts_per_problem");
  const says = /** @type {HTMLElement} */ (figure.querySelector("[data-curve-says]"));
  figure.toggleAttribute("data-stale", !weighting);
  if (!weighting) {
    says.textContent = "The curve appears when its numbers can be read.";
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
  says.textContent = inWords(weighting, rollouts);
}

/**
 * @param {HTMLElement} figure
 * @param {Weighting} weighting
 * @param {number} rollouts
 * @param {number} highest
 */
function drawDots(figure, weighting, rollouts, highest) {
  const group = /** @type {SVGElement} */ (figure.querySelector("[data-curve-dots]"));
  const shown =
    Number.isInteger(rollouts) && rollouts >= 1 && rollouts <= MOST_DOTS
      ? reachable(weighting, rollouts)
      : [];
  group.replaceChildren(
    ...shown.map(({ p, weight }) => {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: x(p), cy: y(weight / highest), r: 3 }))
        dot.setAttribute(name, String(value));
      return dot;
    }),
  );
}

/** @param {Weighting} weighting @param {number} rollouts @returns {string} */
export function inWords(weighting, rollouts) {
  if (weighting.kind === "uniform") return "Every problem counts the same.";
  if (weighting.kind === "hard_filter")
    return `Pass rates from ${weighting.low} to ${weighting.high} count the same, all others are dropped.`;
  const { alpha = 1, beta = 1 } = weighting;
  const peak =
    alpha + beta > 0
      ? `Counts most at p = ${(alpha / (alpha + beta)).toFixed(2)}.`
      : "Every problem counts the same.";
  if (!Number.isInteger(rollouts) || rollouts < 1) return peak;
  const dropped = reachable(weighting, rollouts)
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
  return Math.round((6 + (1 - share) * (HEIGHT - BOTTOM - 6)) * 10) / 10;
}

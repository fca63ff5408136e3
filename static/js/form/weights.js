/**
 * The weight of a problem by its pass rate p, as in trainer/text/training/problem_weights.py:
 * w(p) = p^α (1 − p)^β and the baselines (PACED, arXiv 2603.11178).
 */

/**
 * @typedef {{kind: string, alpha?: number, beta?: number, floor?: number, low?: number, high?:
 *   number}} Weighting
 */

/**
 * @param {number} p pass rate
 * @param {Weighting} weighting
 * @returns {number} unnormalised weight; 0⁰ = 1
 */
export function weigh(p, weighting) {
  if (weighting.kind === "paced")
    return p ** (weighting.alpha ?? 1) * (1 - p) ** (weighting.beta ?? 1) + (weighting.floor ?? 0);
  if (weighting.kind === "hard_filter")
    return p >= (weighting.low ?? 0) && p <= (weighting.high ?? 1) ? 1 : 0;
  return 1;
}

/**
 * @param {Weighting} weighting
 * @param {number} rollouts K
 * @returns {{p: number, weight: number}[]} each pass rate that K rollouts can show, with its weight
 */
export function possibleWeights(weighting, rollouts) {
  return Array.from({ length: rollouts + 1 }, (_, passed) => ({
    p: passed / rollouts,
    weight: weigh(passed / rollouts, weighting),
  }));
}

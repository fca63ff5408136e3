"""Problem weights from pass rates; each weighting of `trainer.spec.weightings` has its w(p).

Source: PACED, arXiv 2603.11178. `w̃ = w / mean of w over the kept pool` has mean 1, so that the
size of a step does not depend on α, β or K. A problem of weight 0 is dropped. The web preview uses
the same functions, so this module must import without torch.

Shapes: `p`, `passed`, `verdicts` and weights are vectors over the problems of the pool.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.spec import Weighting
from trainer.text.mechanisms import CodeError

Vector = NDArray[np.float64]

# A true weight of at least this share of the highest one makes dropping a problem wrong.
MATTERS = 0.1
# Grid of true pass rates, one percent apart, and iterations of expectation–maximisation on it.
GRID = np.linspace(0.0, 1.0, 101)
EM_STEPS = 200


def weigh(weighting: Weighting, p: ArrayLike) -> Vector:
    """Unnormalised weight of each pass rate under any weighting of a run definition."""
    weights = np.asarray(weighting.weight(np.asarray(p, dtype=np.float64)), dtype=np.float64)
    if (weights < 0).any():
        raise CodeError(
            f"the weighting {weighting.kind} gives a negative weight; 0 drops a problem"
        )
    return weights


def normalised(weights: ArrayLike) -> Vector:
    """w̃: weights divided by their mean over the kept problems (those above 0).

    All zeros stay zeros.
    """
    values = np.asarray(weights, dtype=np.float64)
    positive = values[values > 0]
    return values / positive.mean() if positive.size else values


def effective_problems(weights: ArrayLike) -> float:
    """(Σw)² / Σw²: how many equally weighted problems would average out as much noise."""
    values = np.asarray(weights, dtype=np.float64)
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / squares if squares else 0.0


def weighting_efficiency(used: ArrayLike, best: ArrayLike, variance: ArrayLike) -> float:
    """Signal-to-noise ratio with the `used` weights relative to that with the `best` ones, squared.

    (Σ w w* v)² / (Σ w² v · Σ w*² v), with v the gradient variance of each problem; 1 for w ∝ w*.
    """
    w, w_best, v = (np.asarray(values, dtype=np.float64) for values in (used, best, variance))
    return float((w * w_best * v).sum() ** 2 / ((w**2 * v).sum() * (w_best**2 * v).sum()))


def least_efficiency(delta: float) -> float:
    """Lower bound sech²(δ) of the efficiency of weights that are off by factors e^±δ at most.

    Kantorovich's inequality; 1 − δ² + O(δ⁴), the robustness that PACED claims (theorem 6 of v1).
    """
    return float(1 / np.cosh(delta) ** 2)


def share_wrongly_dropped(weighting: Weighting, passed: ArrayLike, verdicts: ArrayLike) -> float:
    """Estimated share of the dropped problems that would matter at their true pass rate; 0 if none.

    With K samples a problem of p = 0.1 shows no success with probability 0.9^K. How many of the
    problems without success are of that kind depends on the pool, so the distribution of true pass
    rates is estimated first (non-parametric maximum likelihood on a grid, by
    expectation–maximisation: Laird 1978). Each dropped problem then has a posterior probability
    that w(p) is at least a tenth of the highest weight.
    """
    counts = np.stack(
        [np.asarray(passed, dtype=np.int64), np.asarray(verdicts, dtype=np.int64)], axis=1
    )
    # A problem without verdicts is set aside, not dropped by its weight.
    counts = counts[counts[:, 1] > 0]
    if not counts.size:
        return 0.0
    # Problems with equal counts have equal posteriors: at most (K + 1)(K + 2)/2 rows, however large
    # the pool is.
    pairs, multiplicity = np.unique(counts, axis=0, return_counts=True)
    dropped = weigh(weighting, pairs[:, 0] / pairs[:, 1]) == 0
    if not dropped.any():
        return 0.0
    posterior = _posterior(pairs[:, 0], pairs[:, 1], multiplicity)
    at_truth = weigh(weighting, GRID)
    wrongly = (
        posterior[:, at_truth >= MATTERS * at_truth.max()].sum(axis=1)
        if at_truth.max() > 0
        else np.zeros(len(pairs))
    )
    return float((wrongly * multiplicity)[dropped].sum() / multiplicity[dropped].sum())


def _posterior(
    passed: NDArray[np.int64], verdicts: NDArray[np.int64], multiplicity: NDArray[np.int64]
) -> Vector:
    """P(p = grid point | passed of verdicts) for each distinct pair of counts, [pairs, grid]."""
    x, n = passed[:, None], verdicts[:, None]
    likelihood = GRID[None, :] ** x * (1.0 - GRID[None, :]) ** (n - x)
    prior = np.full(GRID.size, 1.0 / GRID.size)
    share = multiplicity / multiplicity.sum()
    for _ in range(EM_STEPS):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = share @ posterior
    return np.asarray(posterior, dtype=np.float64)

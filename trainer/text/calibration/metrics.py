"""Calibration metrics: how far confidences are from how often the answers are right.

Pure functions of numpy arrays, the same for every source of confidence. Shapes: `confidence` [N] in
0 … 1, `correct` [N] of 0 and 1, N ≥ 1; the order of the answers never matters.

Bins of spacing "width" are left-closed, [b/B, (b+1)/B), and 1.0 belongs to the last: bin = ⌊B c +
1e-9⌋, because 0.3 · 10 and the like may be slightly too small in floating point. Bins of spacing
"mass" hold about N/B answers each, in the order of confidence; equal confidences stay together (all
take the middle of their ranks), so many ties make the bins uneven.

Pairs are (right answer, wrong answer). Source of the definitions: CaOPD (arXiv 2604.16830), section
"calibration metrics" and its code; Murphy (1973) with the within-bin terms of Stephenson et al.
(2008); risk–coverage after El-Yaniv and Wiener (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.text.evaluation.intervals import Interval, wilson

Array = NDArray[np.float64]
Spacing = Literal["width", "mass"]

BINS = 10
EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with confidences of one bin: number, mean confidence, accuracy, 95 % Wilson interval.

    `low` and `high` are the bin's edges (spacing "width") or its smallest and largest confidence
    ("mass"). The interval treats answers as independent.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Brier = reliability − resolution + uncertainty + within.

    reliability   Σ_b n_b/N (c̄_b − ȳ_b)²
    resolution    Σ_b n_b/N (ȳ_b − ȳ)²
    uncertainty   ȳ(1 − ȳ)
    within        the mean within bins of (c − c̄_b)² − 2 (c − c̄_b)(y − ȳ_b), which binning
                  hides: 0 if the confidences of each bin are equal
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def bins_of(
    confidence: ArrayLike, bins: int = BINS, spacing: Spacing = "width"
) -> NDArray[np.int64]:
    """Return the index of each answer's bin [N], 0 … bins − 1."""
    values = np.asarray(confidence, np.float64)
    if spacing == "mass":
        _, level_of, sizes = np.unique(values, return_inverse=True, return_counts=True)
        middles = (np.cumsum(sizes) - sizes / 2) / len(values)
        values = middles[level_of]
    return np.minimum(np.floor(values * bins + EDGE).astype(np.int64), bins - 1)


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = BINS, spacing: Spacing = "width"
) -> list[Bin]:
    """Return the bins that hold answers, from the least confident to the most."""
    c, y = _pair(confidence, correct)
    bin_of = bins_of(c, bins, spacing)
    filled_bins = []
    for bin_index in np.unique(bin_of):
        inside = bin_of == bin_index
        edges = (
            (bin_index / bins, (bin_index + 1) / bins)
            if spacing == "width"
            else (c[inside].min(), c[inside].max())
        )
        right, n = int(y[inside].sum()), int(inside.sum())
        filled_bins.append(
            Bin(
                float(edges[0]),
                float(edges[1]),
                n,
                float(c[inside].mean()),
                right / n,
                wilson(right, n),
            )
        )
    return filled_bins


def ece(
    confidence: ArrayLike, correct: ArrayLike, bins: int = BINS, spacing: Spacing = "width"
) -> float:
    """Return the expected calibration error Σ_b n_b/N |accuracy_b − mean confidence_b|."""
    c, y = _pair(confidence, correct)
    gaps = np.bincount(bins_of(c, bins, spacing), weights=y - c, minlength=bins)
    return float(np.abs(gaps).sum() / len(c))


def expected_ece(confidence: ArrayLike, bins: int = BINS, spacing: Spacing = "width") -> float:
    """Return the mean of `ece` if these confidences are exactly right and answers independent.

    It is above 0 for any finite N. Exact, not simulated: the number of right answers of a bin has a
    Poisson-binomial distribution with the bin's confidences, and E|right − Σc| is summed over it.
    Time O(Σ_b n_b²).
    """
    c = np.asarray(confidence, np.float64)
    bin_of = bins_of(c, bins, spacing)
    return sum(_mean_absolute(c[bin_of == bin_index]) for bin_index in np.unique(bin_of)) / len(c)


def brier(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the mean of (confidence − correct)².

    The best constant confidence is the accuracy a, with a score of a(1 − a).
    """
    c, y = _pair(confidence, correct)
    return float(np.mean((c - y) ** 2))


def brier_decomposition(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> BrierParts:
    """Return Murphy's parts over bins of equal width; they add up to `brier`."""
    c, y = _pair(confidence, correct)
    bin_of = bins_of(c, bins)
    sizes = np.bincount(bin_of, minlength=bins)
    c_mean, y_mean = (
        np.bincount(bin_of, weights=values, minlength=bins)[bin_of] / sizes[bin_of]
        for values in (c, y)
    )
    off = c - c_mean
    return BrierParts(
        reliability=float(np.mean((c_mean - y_mean) ** 2)),
        resolution=float(np.mean((y_mean - y.mean()) ** 2)),
        uncertainty=float(y.mean() * (1 - y.mean())),
        within=float(np.mean(off**2 - 2 * off * (y - y_mean))),
    )


def over_confidence_gap(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return mean confidence − accuracy, in −1 … 1; positive is over-confident."""
    c, y = _pair(confidence, correct)
    return float(c.mean() - y.mean())


def spr(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the share of pairs in which the right answer has the strictly larger confidence.

    Ties count 0. NaN if there are no right or no wrong answers.
    """
    larger, _ = _pairs(confidence, correct)
    return larger


def auroc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the area under the ROC curve: `spr`, but ties count ½. NaN where `spr` is."""
    larger, equal = _pairs(confidence, correct)
    return larger + equal / 2


def risk_coverage(
    confidence: ArrayLike, correct: ArrayLike, points: int = 50
) -> list[tuple[float, float]]:
    """Return (coverage, risk) if only the most confident answers are given.

    Coverage is their share of all answers, risk the share of them that is wrong. There is one point
    for each distinct confidence, but at most `points`, spread evenly and always with the last,
    coverage 1.
    """
    counts, errors = _errors_above(confidence, correct)
    coverage, risk = counts / counts[-1], errors / counts
    selected = (
        np.unique(np.linspace(len(counts) - 1, 0, points).round().astype(int))
        if len(counts) > points
        else np.arange(len(counts))
    )
    return list(zip(coverage[selected].tolist(), risk[selected].tolist(), strict=True))


def risk_coverage_area(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the mean over k = 1 … N of the risk of the k most confident answers. 0 is best.

    Equal confidences count in expectation over their order.
    """
    counts, errors = _errors_above(confidence, correct)
    k = np.arange(1, counts[-1] + 1)
    return float(np.mean(np.interp(k, np.r_[0, counts], np.r_[0, errors]) / k))


def _pair(confidence: ArrayLike, correct: ArrayLike) -> tuple[Array, Array]:
    return np.asarray(confidence, np.float64), np.asarray(correct, np.float64)


def _pairs(confidence: ArrayLike, correct: ArrayLike) -> tuple[float, float]:
    """Return the shares of pairs in which the right answer's confidence is larger, and equal."""
    c, y = _pair(confidence, correct)
    right, wrong = c[y == 1], np.sort(c[y == 0])
    if not right.size or not wrong.size:
        return math.nan, math.nan
    # Wrong answers with a smaller confidence, and with one that is at most as large.
    below, up_to = (np.searchsorted(wrong, right, side) / wrong.size for side in ("left", "right"))
    return float(below.mean()), float((up_to - below).mean())


def _mean_absolute(chances: Array) -> float:
    """Return E|X − Σp| for X = Σ Bernoulli(p_i)."""
    law = np.ones(1)
    for p in chances:
        # The distribution of one answer more: law[k] is the probability of k right answers.
        law = np.append(law * (1 - p), 0.0) + np.append(0.0, law * p)
    return float(law @ np.abs(np.arange(len(law)) - chances.sum()))


def _errors_above(confidence: ArrayLike, correct: ArrayLike) -> tuple[Array, Array]:
    """Return (answers, wrong answers) with at least each confidence, from the highest down."""
    c, y = _pair(confidence, correct)
    levels, level_of = np.unique(-c, return_inverse=True)
    sizes, wrong = (
        np.bincount(level_of, weights=values, minlength=len(levels))
        for values in (np.ones_like(c), 1 - y)
    )
    return np.cumsum(sizes), np.cumsum(wrong)

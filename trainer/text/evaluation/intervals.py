"""Confidence intervals of pass rates and their differences, and pass@k.

Problems, not answers, are the independent units: answers to one problem resemble each other.
Intervals are 95 % and resample problems (percentile bootstrap). With one answer per problem, or
where every problem is always or never solved and resampling would show no uncertainty, Wilson's
interval over problems is used. pass@k is the unbiased estimator 1 − C(n − c, k) / C(n, k) of Chen
et al. 2021 (arXiv 2107.03374).

Shapes: `passed` and `verdicts` are vectors over problems; a problem without verdicts is left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Interval = tuple[float, float]

# Resamples of a bootstrap interval.
RESAMPLES = 2000
# The 97.5 % quantile of the normal distribution.
Z95 = 1.959963984540054


def pass_rates(passed: Counts, verdicts: Counts) -> NDArray[np.float64]:
    """Pass rate of each problem that has a verdict."""
    judged = verdicts > 0
    return passed[judged] / verdicts[judged]


def pass_rate(passed: Counts, verdicts: Counts) -> tuple[float, Interval]:
    """Mean over problems of their pass rate, with its 95 % interval; NaN without verdicts."""
    rates = pass_rates(passed, verdicts)
    if not rates.size:
        return math.nan, (math.nan, math.nan)
    if int(verdicts.max()) == 1:
        return float(rates.mean()), wilson(int(passed.sum()), int(verdicts.sum()))
    if rates.min() == rates.max() and rates[0] in (0.0, 1.0):
        return float(rates[0]), wilson(int(rates.sum()), rates.size)
    return float(rates.mean()), bootstrap(rates)


def difference(now: tuple[Counts, Counts], before: tuple[Counts, Counts]) -> tuple[float, Interval]:
    """Mean paired difference of pass rates over problems judged both times, with its interval."""
    judged = (now[1] > 0) & (before[1] > 0)
    if not judged.any():
        return math.nan, (math.nan, math.nan)
    change = now[0][judged] / now[1][judged] - before[0][judged] / before[1][judged]
    return float(change.mean()), bootstrap(change)


def bootstrap(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """95 % percentile interval of the mean, from 2,000 resamples of `values`.

    The same values give the same interval.
    """
    low, high = np.quantile(resampled_means(values, RESAMPLES, seed), [0.025, 0.975])
    return float(low), float(high)


def resampled_means(
    values: NDArray[np.float64], resamples: int, seed: int = 0
) -> NDArray[np.float64]:
    """Means of `resamples` resamples of `values`, each drawn with replacement.

    A resample is drawn as counts of the distinct values: pass rates have few of them, so this has
    the same distribution for less work.
    """
    levels, counts = np.unique(values, return_counts=True)
    rng = np.random.Generator(np.random.PCG64(seed))
    means: NDArray[np.float64] = (
        rng.multinomial(len(values), counts / len(values), resamples) @ levels / len(values)
    )
    return means


def wilson(passed: int, total: int) -> Interval:
    """Wilson's 95 % score interval of a share."""
    share, z2 = passed / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def pass_at(k: int, passed: Counts, verdicts: Counts) -> float:
    """Mean probability that one of k answers is right, over problems with at least k verdicts.

    NaN if there is no such problem.
    """
    chances = [
        1.0 - _all_wrong(int(n), int(c), k) for n, c in zip(verdicts, passed, strict=True) if n >= k
    ]
    return float(np.mean(chances)) if chances else math.nan


def _all_wrong(n: int, c: int, k: int) -> float:
    return math.prod((n - c - i) / (n - i) for i in range(k)) if n - c >= k else 0.0

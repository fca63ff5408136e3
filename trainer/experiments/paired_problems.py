"""The difference of two checkpoints on the same problems.

For problems that both were judged on, d_i = p_a,i − p_b,i is the difference of their pass rates.
Problems are the independent units:

    mean = Σ d_i / n,    interval: quantiles of the means of resampled d_i,
    detectable = (1.960 + 0.842) · s_d / √n,    s_d² = Σ (d_i − mean)² / (n − 1).

Plain percentile intervals are too narrow for small n. The quantiles are those of Hesterberg's
expanded percentile interval (The American Statistician 69(4), 2015): Φ(−√(n / (n − 1)) · t) in each
tail with Student's t of n − 1 degrees of freedom, so that a normal population gets about Student's
interval. An interval at 1 − 0.05 / m has too few resamples in its tails for large m. It is the
95 % interval with each side lengthened by the ratio of the two quantiles of t.

It speaks of these two checkpoints, not of the settings that they were trained with: the variation
between trainings is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trainer.experiments.analysis import ERROR_RATE, MANY_DEGREES, POWER, student_quantile
from trainer.text.evaluation.intervals import RESAMPLES, Interval, resampled_means

# Below this, the interval by resampling is not reliable, so that nothing is said.
FEWEST_PROBLEMS = 20
# More problems than this are not counted: nobody has so many.
MOST_PROBLEMS = 10**9
NORMAL = NormalDist()


@dataclass(frozen=True)
class ProblemDifference:
    """Mean of d_i over `n` problems, its 95 % interval, and s_d.

    `intervals_are_reliable` is False for fewer than FEWEST_PROBLEMS problems and where all d_i are
    equal: resampling then shows no uncertainty, or not all of it.
    """

    n: int
    mean: float
    low: float
    high: float
    spread: float
    intervals_are_reliable: bool

    @property
    def detectable(self) -> float:
        """The smallest difference that is found with power 0.8."""
        quantiles = NORMAL.inv_cdf(1 - ERROR_RATE / 2) + NORMAL.inv_cdf(POWER)
        return quantiles * self.spread / math.sqrt(self.n)

    def interval(self, claims: int = 1) -> Interval:
        """The interval at 1 − 0.05 / `claims`."""
        degrees = min(self.n - 1, MANY_DEGREES)
        ratio = student_quantile(1 - ERROR_RATE / claims / 2, degrees) / student_quantile(
            1 - ERROR_RATE / 2, degrees
        )
        return (
            self.mean - ratio * (self.mean - self.low),
            self.mean + ratio * (self.high - self.mean),
        )

    def needed(self, interest: float, claims: int = 1) -> int | None:
        """The number of such problems that finds a difference of `interest` with power 0.8.

        None beyond MOST_PROBLEMS.
        """
        quantiles = NORMAL.inv_cdf(1 - ERROR_RATE / claims / 2) + NORMAL.inv_cdf(POWER)
        root = quantiles * self.spread / interest
        # Not the square: that of a large number is an OverflowError.
        if root > math.sqrt(MOST_PROBLEMS):
            return None
        return max(FEWEST_PROBLEMS, math.ceil(root**2))


def difference(a: Mapping[str, float], b: Mapping[str, float]) -> ProblemDifference | None:
    """Compare pass rates by problem; None if no problem is in both.

    The same pass rates give the same interval.
    """
    values = np.array(_differences(a, b), dtype=np.float64)
    n = len(values)
    if not n:
        return None
    # a − b of rates such as 1/3 has rounding errors, by which equal differences would differ.
    is_level = bool(np.ptp(values) < 1e-9)
    mean = math.fsum(values) / n
    if n < 2 or is_level:
        return ProblemDifference(n, mean, mean, mean, 0.0, False)
    tail = NORMAL.cdf(
        -math.sqrt(n / (n - 1)) * student_quantile(1 - ERROR_RATE / 2, min(n - 1, MANY_DEGREES))
    )
    means = resampled_means(values, RESAMPLES)
    low, high = np.quantile(means, [tail, 1 - tail])
    return ProblemDifference(
        n,
        mean,
        float(low),
        float(high),
        float(np.std(values, ddof=1)),
        n >= FEWEST_PROBLEMS,
    )


def mean_difference(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    """The mean of d_i alone; None if no problem is in both."""
    values = _differences(a, b)
    return math.fsum(values) / len(values) if values else None


def _differences(a: Mapping[str, float], b: Mapping[str, float]) -> list[float]:
    # In a fixed order, so that resamples do not depend on the order of the tables.
    return [a[problem] - b[problem] for problem in sorted(a.keys() & b.keys())]

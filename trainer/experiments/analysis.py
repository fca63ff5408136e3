"""The statistics of paired differences over seeds: Student's t, and claims judged together.

For differences d_1 … d_n (one per seed; the seed determines the base student, problems, sampling
and order, so seeds are independent repetitions)

    interval = mean ± t_{0.975, n−1} · s / √n,    s² = Σ (d_i − mean)² / (n − 1),
    p = 2 · P(T_{n−1} ≥ |margin| · √n / s),

where the margin is the distance of the mean to the claim's bound. p ≤ 0.05 where the interval does
not contain the bound.

Of m claims, each with a chance of 0.05 to be wrongly shown or reversed, one is so with a higher
chance. Holm's adjusted p-values (Scand. J. Statist. 6, 1979) keep that chance at 0.05 for all of
them together, and so do Bonferroni's intervals at 1 − 0.05 / m.

The smallest detectable difference is (t_{0.975} + t_{0.8}) · s / √n: four of five repetitions would
find a true difference of that size (the usual approximation to the non-central t). The uncertainty
of a single run's pass rate is a different quantity: the bootstrap over problems
(`trainer.text.evaluation.intervals`) measures it, and it ignores the variation between trainings.

Two groups of runs without shared seeds are compared by Welch's interval (Biometrika 34, 1947):

    interval = mean_a − mean_b ± t_{0.975, ν} · √(s_a² / n_a + s_b² / n_b)

with ν of Satterthwaite, rounded down.

Pure functions of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# The chance that is accepted of a verdict that the bound itself would get.
ERROR_RATE = 0.05
POWER = 0.8
# More repetitions than this are not looked for: nobody runs so many.
MOST_REPETITIONS = 100_000
# Student's t with so many degrees of freedom is nearly normal: its quantiles are 0.1 % larger.
MANY_DEGREES = 1000


@dataclass(frozen=True)
class Estimate:
    """Mean of n paired differences, its 95 % interval, and its standard error s / √n.

    `detectable` is the smallest difference that is found with power 0.8.
    """

    n: int
    mean: float
    low: float
    high: float
    detectable: float
    error: float


def estimate(differences: Sequence[float]) -> Estimate:
    """The estimate from at least two differences; ValueError for fewer, which have no spread."""
    n = len(differences)
    if n < 2:
        raise ValueError(
            f"there is {n} paired difference, and an interval needs two; run more seeds"
        )
    # fsum rounds once, so that the result does not depend on the order of the seeds.
    mean = math.fsum(differences) / n
    error = math.sqrt(
        math.fsum((difference - mean) ** 2 for difference in differences) / (n - 1) / n
    )
    reach = student_quantile(1 - ERROR_RATE / 2, n - 1)
    return Estimate(
        n,
        mean,
        mean - reach * error,
        mean + reach * error,
        (reach + student_quantile(POWER, n - 1)) * error,
        error,
    )


@dataclass(frozen=True)
class UnpairedEstimate:
    """Difference of the means of two independent groups, with Welch's standard error.

    `spread` is the standard deviation that a difference of one seed of each group has. `detectable`
    is the smallest difference that is found with power 0.8.
    """

    counts: tuple[int, int]
    mean: float
    error: float
    degrees: int
    detectable: float
    spread: float

    def interval(self, claims: int = 1) -> tuple[float, float]:
        """The interval at 1 − 0.05 / `claims`."""
        reach = student_quantile(1 - ERROR_RATE / claims / 2, self.degrees) * self.error
        return self.mean - reach, self.mean + reach


def welch(first: Sequence[float], second: Sequence[float]) -> UnpairedEstimate:
    """Compare two groups of at least two values each; ValueError for fewer."""
    if min(len(first), len(second)) < 2:
        raise ValueError("a group has fewer than two values, and an interval needs two; run more")
    means = [math.fsum(values) / len(values) for values in (first, second)]
    variances = [
        math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        for values, mean in zip((first, second), means, strict=True)
    ]
    parts = [
        variance / len(values) for values, variance in zip((first, second), variances, strict=True)
    ]
    error = math.sqrt(sum(parts))
    degrees = min(len(first), len(second)) - 1
    # Without any variation, or so little that its square is 0, ν is not defined.
    if (
        below := parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
    ) and math.isfinite(ratio := sum(parts) ** 2 / below):
        # Rounding errors must not make it smaller than its least value.
        degrees = max(degrees, math.floor(ratio))
    reach = student_quantile(1 - ERROR_RATE / 2, degrees) + student_quantile(POWER, degrees)
    return UnpairedEstimate(
        (len(first), len(second)),
        means[0] - means[1],
        error,
        degrees,
        reach * error,
        math.sqrt(sum(variances)),
    )


def needed_seeds(
    spread: float, interest: float, claims: int = 1, degrees_per_seed: int = 1
) -> int | None:
    """The number of seeds that find a difference of `interest` (above 0) with power 0.8.

    `spread` is the standard deviation of a difference; `degrees_per_seed` is 1 for paired ones and
    2 for two groups of that many seeds each. None beyond MOST_REPETITIONS.
    """
    share = 1 - ERROR_RATE / claims / 2
    normal = student_quantile(share, MANY_DEGREES) + student_quantile(POWER, MANY_DEGREES)
    # Student's quantiles are larger than the normal ones, so that fewer never suffice.
    root = normal * spread / interest
    # Not the square: that of a large number is an OverflowError.
    if not root <= math.sqrt(MOST_REPETITIONS):
        return None
    least = root**2
    for n in range(max(3, math.floor(least)), MOST_REPETITIONS + 1):
        degrees = min(degrees_per_seed * (n - 1), MANY_DEGREES)
        reach = student_quantile(share, degrees) + student_quantile(POWER, degrees)
        if reach * spread / math.sqrt(n) <= interest:
            return n
    return None


def p_value(measured: Estimate, margin: float) -> float:
    """The two-sided p of a mean that is `margin` away from its bound."""
    if measured.error == 0:
        return 1.0 if margin == 0 else 0.0
    return 2 * (1 - student_cdf(abs(margin) / measured.error, measured.n - 1))


def bonferroni_interval(measured: Estimate, claims: int) -> tuple[float, float]:
    """The interval at 1 − 0.05 / `claims`."""
    reach = student_quantile(1 - ERROR_RATE / claims / 2, measured.n - 1) * measured.error
    return measured.mean - reach, measured.mean + reach


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of `p_values`.

    The i-th smallest of m is multiplied by m − i + 1, and none is below that of a smaller one.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def student_cdf(t: float, degrees: int) -> float:
    """P(T ≤ t) for Student's t with a whole number of degrees of freedom.

    By its finite series (Abramowitz & Stegun 26.7.3, 26.7.4).
    """
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for index in range(degrees // 2):
        total += term
        term *= cosine**2 * (2 * index + 1 + odd) / (2 * index + 2 + odd)
    probability_inside = (
        2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    )
    return (1 + probability_inside) / 2


@lru_cache(maxsize=4096)
def student_quantile(share: float, degrees: int) -> float:
    """The t with P(T ≤ t) = `share` (0.5 … 1) for Student's t, by bisection."""
    # With one degree of freedom the 97.5 % quantile is 12.7, so the bracket is doubled until it
    # holds.
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < share:
        low, high = high, 2 * high
    # 80 halvings of the bracket reach the precision of a float64.
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < share else (low, middle)
    return (low + high) / 2

"""The statistics of paired differences: Student's t-interval over seeds, and a verdict.

For differences d_1 … d_n (one per seed; the seed determines problems, sampling and order, so seeds
are independent repetitions)

    interval = mean ± t_{0.975, n−1} · s / √n,    s² = Σ (d_i − mean)² / (n − 1).

The smallest detectable difference is (t_{0.975} + t_{0.8}) · s / √n: four of five repetitions would
find a true difference of that size (the usual approximation to the non-central t). The uncertainty
of a single run's pass rate is a different quantity: the bootstrap over problems
(`trainer.text.evaluation.intervals`) measures it, and it ignores the variation between trainings.

Pure functions of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["shown", "not shown", "reversed", "precondition not met"]

LEVEL = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """Mean of n paired differences, and its 95 % interval.

    `detectable` is the smallest difference that is found with power 0.8.
    """

    n: int
    mean: float
    low: float
    high: float
    detectable: float


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
    reach = student_quantile((1 + LEVEL) / 2, n - 1)
    return Estimate(
        n,
        mean,
        mean - reach * error,
        mean + reach * error,
        (reach + student_quantile(POWER, n - 1)) * error,
    )


def judge(measured: Estimate, above: float = 0.0, gates_hold: bool = True) -> Verdict:
    """`shown` if the whole interval is above `above`, `reversed` if it is below, else `not shown`.

    `not shown` does not mean that there is no difference.
    """
    # Whatever the interval says: the claim does not apply to a student without the precondition.
    if not gates_hold:
        return "precondition not met"
    if measured.low > above:
        return "shown"
    return "reversed" if measured.high < above else "not shown"


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

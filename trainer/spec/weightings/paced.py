from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.weightings.weighting import Rates, Weighting

PACED = "PACED, arXiv 2603.11178"


class PacedWeights(Weighting):
    """w(p) = p^α (1 − p)^β: problems that the student solves sometimes have the largest weight."""

    kind: Literal["paced"] = "paced"
    # α = β = 1 is what version 3 of the paper fixes; earlier versions leave both open.
    alpha: float = option(
        1.0,
        title="α",
        help="Exponent of p. A larger α moves weight to easier problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    beta: float = option(
        1.0,
        title="β",
        help="Exponent of 1 − p. A larger β moves weight to harder problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    # p = 0 has weight 0, so without a floor or a refresh an unsolved problem stays dropped.
    floor: float = option(
        0.0,
        title="Floor",
        help="Added to every weight, so that no problem is dropped forever.",
        ge=0,
        le=1,
        expert=True,
    )

    def describe(self) -> str:
        floor = f" + {self.floor:g}" if self.floor else ""
        return f"the weight of a problem is w(p) = p^{self.alpha:g} (1 − p)^{self.beta:g}{floor}"

    def weight(self, p: Rates) -> Rates:
        """Return p^α (1 − p)^β + floor, with 0⁰ = 1."""
        weight: Rates = p**self.alpha * (1.0 - p) ** self.beta + self.floor
        return weight

    def highest_rates(self) -> tuple[float, float]:
        """Return p* = α / (α + β) twice, or 0 and 1 where w is the same everywhere."""
        total = self.alpha + self.beta
        return (self.alpha / total, self.alpha / total) if total else (0.0, 1.0)

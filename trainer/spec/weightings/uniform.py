from __future__ import annotations

from typing import Literal

from trainer.spec.weightings.weighting import Rates, Weighting


class UniformWeights(Weighting):
    """All problems have the same weight; pass rates are measured but not used."""

    kind: Literal["uniform"] = "uniform"
    uses_pass_rates = False

    def describe(self) -> str:
        return "all problems have the same weight"

    def weight(self, p: Rates) -> Rates:
        # x⁰ is 1 for every x, also for a rate that was not measured (NaN).
        weight: Rates = p**0.0
        return weight

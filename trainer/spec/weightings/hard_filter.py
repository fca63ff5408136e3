from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from trainer.spec.base import option
from trainer.spec.weightings.weighting import Rates, Weighting


class HardFilterWeights(Weighting):
    """Problems with a pass rate in the interval have the same weight, all others are dropped."""

    kind: Literal["hard_filter"] = "hard_filter"
    # The paper leaves the thresholds open. At K = 8 these drop only the pass rates 0 and 1.
    low: float = option(
        0.125, title="Lowest pass rate", help="Problems below it are dropped.", ge=0, le=1
    )
    high: float = option(
        0.875, title="Highest pass rate", help="Problems above it are dropped.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _ordered(self) -> HardFilterWeights:
        if self.low > self.high:
            raise ValueError(
                f"low ({self.low}) must not be above high ({self.high}), or every problem is "
                f"dropped"
            )
        return self

    def describe(self) -> str:
        return (
            f"problems with a pass rate from {self.low:g} to {self.high:g} have the same weight, "
            "others are dropped"
        )

    def weight(self, p: Rates) -> Rates:
        weight: Rates = ((p >= self.low) & (p <= self.high)) * 1.0  # type: ignore[assignment]
        return weight

    def highest_rates(self) -> tuple[float, float]:
        return self.low, self.high

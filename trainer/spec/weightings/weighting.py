"""What every weighting of problems declares."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.spec.mechanisms import Mechanism

Rates = TypeVar("Rates", float, NDArray[np.float64])


class Weighting(Mechanism):
    """The weight w(p) of a problem whose pass rate is p, before normalisation; 0 drops it.

    Its formula needs no torch, so it stands in the declaration, and there is no `function`.
    `uses_pass_rates` says whether weights differ with p at all.
    """

    REQUIRED = ()
    uses_pass_rates: ClassVar[bool] = True

    def weight(self, p: Rates) -> Rates:
        """Return w(p) of one pass rate or of an array of them."""
        raise NotImplementedError

    def highest_rates(self) -> tuple[float, float]:
        """Return the lowest and the highest pass rate at which w is largest, on a grid of 1 %."""
        rates = np.linspace(0.0, 1.0, 101)
        weights = self.weight(rates)
        largest = rates[weights == weights.max()]
        return float(largest[0]), float(largest[-1])

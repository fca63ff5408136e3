"""The curve w(p) beside the form: the weight of a problem by its pass rate p.

Weights come from the trainer's own function. Coordinates are in units of the SVG view box of
`templates/new_run/_curve.html`, 320 × 130.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trainer.spec import Pool, Weighting
from trainer.text.training.problem_weights import weigh

WIDTH, HEIGHT = 320, 130
TOP, LEFT, BOTTOM = 6, 8, 18
RATES = np.linspace(0.0, 1.0, 101)
# More dots than this would overlap.
MOST_DOTS = 64


@dataclass(frozen=True)
class WeightCurve:
    """The curve of one weighting, with a dot at each pass rate that K rollouts can show.

    `line` is an SVG path. Without a valid K there are no dots and the sentence is about the curve
    alone.
    """

    line: str
    dots: tuple[tuple[float, float], ...]
    sentence: str

    @property
    def area(self) -> str:
        """The path of what is below the line."""
        return f"{self.line}L{x(1)} {y(0)}L{x(0)} {y(0)}Z"


def weight_curve(spec: Mapping[str, Any]) -> WeightCurve | None:
    """Return the curve of an unfinished definition; None while its weighting is not valid.

    The rest of the definition may be invalid.
    """
    settings = spec.get("pool", {})
    pool = _pool(settings, "weighting")
    if pool is None:
        return None
    weighting = pool.weighting
    counted = _pool(settings, "rollouts_per_problem")
    rollouts = counted.rollouts_per_problem if counted else 0
    possible_rates = np.arange(rollouts + 1) / rollouts if rollouts else np.empty(0)
    dot_rates = possible_rates if rollouts <= MOST_DOTS else np.empty(0)
    highest = weigh(weighting, RATES).max() or 1.0
    line = "L".join(f"{left} {top}" for left, top in _points(weighting, RATES, highest))
    return WeightCurve(
        f"M{line}",
        _points(weighting, dot_rates, highest),
        _sentence(weighting, possible_rates),
    )


def _pool(settings: Mapping[str, Any], name: str) -> Pool | None:
    """Return the pool with one of its settings, others at their default; None if it is invalid."""
    try:
        return Pool.model_validate({name: settings.get(name)})
    except ValidationError:
        return None


def _points(
    weighting: Weighting, rates: NDArray[np.float64], highest: float
) -> tuple[tuple[float, float], ...]:
    weights = weigh(weighting, rates) / highest
    return tuple((x(p), y(weight)) for p, weight in zip(rates, weights, strict=True))


def _sentence(weighting: Weighting, possible_rates: NDArray[np.float64]) -> str:
    match weighting.highest_rates():
        case 0, 1:
            peak = "All problems have the same weight."
        case low, high if low < high:
            peak = f"Highest weight from p = {low:g} to {high:g}."
        case rate, _:
            peak = f"Highest weight at p = {rate:.2f}."
    if not len(possible_rates):
        return peak
    dropped = possible_rates[weigh(weighting, possible_rates) == 0]
    if not len(dropped):
        return f"{peak} No problem is dropped."
    rates = " and ".join(f"p = {p:g}" for p in dropped)
    return f"{peak} Dropped: {rates} of {len(possible_rates) - 1} rollouts."


def x(p: float) -> float:
    return round(LEFT + float(p) * (WIDTH - 2 * LEFT), 1)


def y(share: float) -> float:
    """Return the height of a share of the highest weight; y grows downwards."""
    return round(TOP + (1 - float(share)) * (HEIGHT - BOTTOM - TOP), 1)

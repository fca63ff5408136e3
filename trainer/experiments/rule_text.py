"""The rule of a contrast's verdict in a sentence, as docs/results/README.md states it."""

from __future__ import annotations

from trainer.experiments.analysis import ERROR_RATE
from trainer.experiments.definition import Contrast


def rule(contrast: Contrast, claims: int) -> str:
    """When a claim is shown; `claims` is the number of claims that are adjusted together."""
    if contrast.each_seed:
        measured = (
            "the whole 95 % interval over problems is above"
            if contrast.each_seed == "interval"
            else "the measured change is at least"
        )
        return f"Shown if {measured} {_signed(contrast.above)} with every seed by itself."
    bound = (
        f"is above {_signed(contrast.above)}"
        if contrast.within is None
        else f"lies between −{contrast.within:g} and +{contrast.within:g}"
    )
    adjustment = f" after Holm's adjustment for {claims} claims" if claims > 1 else ""
    sentence = (
        f"Shown if the mean difference over seeds {bound} with p ≤ {ERROR_RATE:g}{adjustment} "
        "(Student's t, paired by seed)."
    )
    if contrast.interest is None or contrast.kind != "higher":
        return sentence
    return f"{sentence} A difference of {contrast.interest:g} or more is of interest."


def _signed(number: float) -> str:
    return f"{number:g}".replace("-", "−")


def adjusted_together(claims: tuple[Contrast, ...]) -> int:
    """The number of claims that are tested over seeds and adjusted for each other."""
    return sum(contrast.each_seed is None for contrast in claims)

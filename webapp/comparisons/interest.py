"""δ, the smallest difference of interest: chosen for a comparison, saved with it, or its team's.

A saved comparison keeps the δ that it was saved with; those of earlier versions the usual one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.experiments.comparisons import INTEREST
from webapp.access.models import Team
from webapp.comparisons.choices import Choices


@dataclass(frozen=True)
class Interest:
    """δ in units of the metric, where it comes from, and what was wrong with what was typed."""

    value: float
    source: str
    problem: str = ""

    @property
    def text(self) -> str:
        return f"{self.value:g}"


def of_team(team: Team) -> float:
    """Return the team's δ; the usual one if it has set none."""
    return INTEREST if team.interest is None else team.interest


def interest_of(choices: Choices, saved: Choices | None, team: Team | None) -> Interest:
    """Return the δ of a comparison with these choices.

    `saved` are the choices of the saved comparison that is shown. `team` is None for a guest, who
    is told nothing else of the team.
    """
    default = of_team(team) if team else INTEREST
    if saved is not None:
        default = number_in(saved.asked_interest) or INTEREST
    asked = choices.asked_interest
    value = number_in(asked) or default
    problem = ""
    if asked and number_in(asked) is None:
        problem = f"“{asked[:40]}” is no number above 0. Type one, such as 0.02."
    return Interest(value, _source(value, saved is not None and value == default, team), problem)


def number_in(text: str) -> float | None:
    """Return the number above 0 that a text is; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _source(value: float, is_saved: bool, team: Team | None) -> str:
    if team is None:
        return "as saved" if is_saved else "chosen here"
    usual = of_team(team)
    if is_saved:
        return "as saved" if value == usual else f"as saved; that of {team.name} is {usual:g} now"
    if value != usual:
        return f"chosen here; that of {team.name} is {usual:g}"
    return f"that of {team.name}" if team.interest is not None else "the usual one"

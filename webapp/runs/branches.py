"""Which attempt a run followed at which step.

Each attempt has its own log. A resumed one begins with `rewind{step}`: what earlier attempts did after that step is their abandoned
tail. The *live branch* is what remains, and it is one curve.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from webapp.runs.models import Attempt, Run


@dataclass(frozen=True)
class Stretch:
    """The part of one attempt that belongs to the live branch: its steps up to and including `last` (None: all)."""

    attempt: int
    last: int | None


def stretches(run: Run) -> list[Stretch]:
    """The live branch of `run`, oldest attempt first. An attempt that wrote something without a rewind began from nothing."""
    found: list[Stretch] = []
    last: int | None = None
    for number, rewound_to, last_seq in Attempt.objects.filter(run=run).order_by("-number").values_list("number", "rewound_to", "last_seq"):
        found.append(Stretch(number, last))
        cut = rewound_to if rewound_to is not None else -1 if last_seq else None
        last = last if cut is None else cut if last is None else min(cut, last)
    return found[::-1]


def live(run: Run) -> Q:
    """Condition that keeps the live branch, for models with `attempt` and `step`; what has no step belongs to it always."""
    condition = Q(step=None)
    for stretch in stretches(run):
        part = Q(attempt=stretch.attempt)
        condition |= part if stretch.last is None else part & Q(step__lte=stretch.last)
    return condition


def live_sql(run: Run) -> str:
    """The same condition as SQL, for tables whose every row has a step. Its values are integers of ours."""
    parts = [
        f"attempt = {one.attempt}" if one.last is None else f"(attempt = {one.attempt} AND step <= {one.last})" for one in stretches(run)
    ]
    return f"({' OR '.join(parts)})" if parts else "FALSE"

"""The measurements behind a panel: at which steps there are some, and the one that an address asks
for by `step`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from webapp.runs import branches
from webapp.runs.models import Event, Run

MOMENTS = {"before": "before training", "after": "after training"}


@dataclass(frozen=True)
class Scrubber:
    """The steps that were measured, in words too, and which is shown. `follows`: the newest,
    whichever comes.
    """

    steps: tuple[int, ...]
    words: tuple[str, ...]
    at: int
    follows: bool

    @property
    def last(self) -> int:
        return len(self.steps) - 1

    @property
    def says(self) -> str:
        return self.words[self.at]

    @property
    def data(self) -> dict[str, Any]:
        """What the browser needs to move."""
        return {"steps": self.steps, "words": self.words, "at": self.at, "follows": self.follows}


@dataclass(frozen=True)
class Measured:
    """One measurement among those of its kind."""

    scrubber: Scrubber
    payload: dict[str, Any]


def events(run: Run, kind: str, **payload: str) -> QuerySet[Event]:
    """Events of a type on the live branch, oldest first."""
    wanted = {f"payload__{name}": value for name, value in payload.items()}
    return run.events.filter(branches.on_live_branch(run), type=kind, **wanted).order_by(
        "step", "attempt", "seq"
    )


def measured(found: QuerySet[Event], request: HttpRequest) -> Measured | None:
    """The measurement that the address asks for, else the newest; None if there is none. Of several
    at a step, the last counts.
    """
    keys = {
        step or 0: (pk, _words(step or 0, when, stage))
        for pk, step, when, stage in found.values_list("pk", "step", *FACTS)
    }
    if not keys:
        return None
    steps = tuple(keys)
    asked = _step(request)
    at = len(steps) - 1 if asked is None else max(0, bisect_right(steps, asked) - 1)
    scrubber = Scrubber(
        steps, tuple(words for _, words in keys.values()), at, follows=asked is None
    )
    return Measured(scrubber, {**found.get(pk=keys[steps[at]][0]).payload, "step": steps[at]})


FACTS = ("payload__when", "payload__stage")


def _step(request: HttpRequest) -> int | None:
    asked = request.GET.get("step", "")
    return int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 19 else None


def _words(step: int, when: str | None, stage: str | None) -> str:
    return ", ".join(
        filter(
            None, [f"step {step:,}", MOMENTS.get(when or "", ""), f"stage {stage}" if stage else ""]
        )
    )

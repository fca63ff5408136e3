"""The step scrubber of a panel: the measured steps, and the one that the URL asks for."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from webapp.pages.query_numbers import bigint
from webapp.runs import branches
from webapp.runs.models import Event, Run

MOMENTS = {"before": "before training", "after": "after training"}


@dataclass(frozen=True)
class Scrubber:
    """The measured steps with a label each, and which of them is shown.

    `follows` is True if the URL names no step: the panel then shows each new measurement.
    """

    steps: tuple[int, ...]
    labels: tuple[str, ...]
    index: int
    follows: bool

    @property
    def last(self) -> int:
        return len(self.steps) - 1

    @property
    def label(self) -> str:
        return self.labels[self.index]

    @property
    def data(self) -> dict[str, Any]:
        """The data that static/js/run/scrubber.js needs to move between steps."""
        return {
            "steps": self.steps,
            "labels": self.labels,
            "index": self.index,
            "follows": self.follows,
        }


@dataclass(frozen=True)
class SelectedMeasurement:
    """The measurement that a panel shows: the payload of its event, with `step` added."""

    scrubber: Scrubber
    payload: dict[str, Any]


def events(run: Run, kind: str, **payload: str) -> QuerySet[Event]:
    """Return the events of a type on the live branch, oldest first, filtered by payload values."""
    return run.events.filter(
        branches.on_live_branch(run),
        type=kind,
        **{f"payload__{name}": value for name, value in payload.items()},
    ).order_by("step", "attempt", "seq")


def payloads_with_step(run: Run, kind: str) -> list[dict[str, Any]]:
    """Return the payloads of the events of a type, oldest first, with `step` added."""
    rows = events(run, kind).values_list("step", "payload")
    return [{**payload, "step": step} for step, payload in rows]


def selected(rows: QuerySet[Event], request: HttpRequest) -> SelectedMeasurement | None:
    """Return the newest measurement at or before the step in the URL; None if there is none.

    Without `step` in the URL it is the newest. Of several at one step the last counts.
    """
    # Payloads are large (hundreds of cells each): only the chosen one is read. A later event at a
    # step replaces an earlier one here.
    key_and_label = {
        step or 0: (pk, _label(step or 0, when, stage))
        for pk, step, when, stage in rows.values_list(
            "pk", "step", "payload__when", "payload__stage"
        )
    }
    if not key_and_label:
        return None
    steps = tuple(key_and_label)
    step = bigint(request.GET.get("step", ""))
    index = len(steps) - 1 if step is None else max(0, bisect_right(steps, step) - 1)
    labels = tuple(label for _, label in key_and_label.values())
    scrubber = Scrubber(steps, labels, index, follows=step is None)
    payload = rows.get(pk=key_and_label[steps[index]][0]).payload
    return SelectedMeasurement(scrubber, {**payload, "step": steps[index]})


def _label(step: int, when: str | None, stage: str | None) -> str:
    labels = [f"step {step:,}", MOMENTS.get(when or "", ""), f"stage {stage}" if stage else ""]
    return ", ".join(label for label in labels if label)

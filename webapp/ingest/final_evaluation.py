"""How long the evaluation after the last step will take, from earlier ones of the same run.

The evaluation before the first step asks the same problems as often as the last one does. Its
number of answers is multiplied by the mean seconds of an answer, over all evaluations so far of
which the log has the progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from webapp.runs import branches
from webapp.runs.models import Event, Run

# Of the newest evaluations; a trainer reports at most twice a second.
MOST_REPORTS = 2000
# Seconds since an earlier time, and answers that were finished by then.
Report = tuple[float, int]


def is_measured_by(batch: Iterable[dict[str, Any]]) -> bool:
    """Whether the events of a batch may change the answer."""
    return any(
        event["type"] in ("evaluation", "rewind")
        or (event["type"] == "progress" and event.get("phase") == "evaluation")
        for event in batch
    )


def seconds_of(run: Run) -> float | None:
    """Return the seconds that the final evaluation will take; None if nothing tells."""
    before = Event.objects.filter(
        branches.on_live_branch(run), run=run, type="evaluation", payload__when="before"
    ).order_by("attempt", "seq")
    sizes = {
        payload["role"]: payload["problems"] * payload["samples"]
        for payload in before.values_list("payload", flat=True)
    }
    answers, seconds = sum(sizes.values()), seconds_per_answer(_reports(run))
    return None if seconds is None or not answers else seconds * answers


def seconds_per_answer(reports: Sequence[Report]) -> float | None:
    """Return the mean over reports in their order; None without two of one evaluation."""
    seconds, answers = 0.0, 0
    for (began, first), (ended, last) in pairwise(reports):
        # Otherwise another evaluation has begun, or somebody has set the clock.
        if last > first and ended >= began:
            seconds, answers = seconds + ended - began, answers + last - first
    return seconds / answers if answers else None


def _reports(run: Run) -> list[Report]:
    rows = (
        Event.objects.filter(run=run, type="progress", payload__phase="evaluation")
        .order_by("-attempt", "-seq")
        .values_list("wall_time", "payload__done")[:MOST_REPORTS]
    )
    return [(time.timestamp(), done) for time, done in reversed(rows) if done is not None]

"""Whether the record of a run is complete and nothing in it doubled: what Postgres holds against
the logs, and against what was to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainer.events import read
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store

FOLLOWS: dict[str, set[str]] = {
    "queued": {
        "starting",
        "stopped",
        "paused",
        "running",
    },  # running: a machine that was given up for lost is back
    "starting": {"running", "stopping", "queued", "stopped", "failed", "completed"},
    "running": {"stopping", "queued", "stopped", "failed", "completed", "paused"},
    "stopping": {"stopping", "queued", "stopped", "failed", "completed", "paused"},
    "stopped": {"queued"},
    "paused": {"queued", "stopped"},
    "failed": {"queued"},
    "completed": set(),
}


FolderOf = Callable[[Attempt], Path]


def named(attempt: Attempt) -> Path:
    """The folder that the attempt itself names."""
    return Path(attempt.folder)


def folder_on(base: Path) -> FolderOf:
    """Where an attempt lies when each host keeps its state in a folder of its name below `base`."""
    return lambda attempt: (
        base / attempt.host / "runs" / attempt.run.public_id / "attempts" / str(attempt.number)
    )


def read_log(folder: Path) -> list[dict[str, Any]]:
    return list(read(folder / "events"))


def assert_complete(run: Run, folder_of: FolderOf = named) -> None:
    """Every event of every attempt is recorded, once, as its log has it; and the run went from
    state to state as it may.
    """
    for attempt in Attempt.objects.filter(run=run).order_by("number"):
        log = read_log(folder_of(attempt))
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1)), (
            f"the log of attempt {attempt.number} has gaps"
        )
        written = {event["seq"] for event in log if event["type"] == "metrics"}
        differing = series_store.sequence_numbers(run, attempt.number) ^ written
        assert not differing, (
            f"points of {len(differing)} events are on one side only, of attempt {attempt.number}: {sorted(differing)[:10]}"
        )
        points = Counter(point for event in log for point in points_of(event))
        assert recorded_points(run, attempt.number) == points, (
            f"points of attempt {attempt.number} differ from its log, or stand twice"
        )
        rows = sorted(
            Event.objects.filter(run=run, attempt=attempt.number).values_list("seq", "type")
        )
        others = [(event["seq"], event["type"]) for event in log if event["type"] != "metrics"]
        assert rows == others, (
            f"events of attempt {attempt.number} differ from its log: {sorted(set(rows) ^ set(others))[:10]}"
        )
    assert_legal(run)


def assert_curve(run: Run, expected: Sequence[float]) -> None:
    """The live branch is one curve with every step once, bit for bit that of a run that nothing
    disturbed.
    """
    [loss] = series_store.read([run], ["loss"], width=100_000)
    assert list(loss.x) == list(range(1, len(expected) + 1)), "the curve has not every step once"
    different = [
        step
        for step, pair in enumerate(zip(loss.mean, expected, strict=True), 1)
        if pair[0] != pair[1]
    ]
    assert not different, (
        f"the curve is not that of an undisturbed run, from step {different[0]} on"
    )


def assert_legal(run: Run) -> None:
    states = list(run.transitions.order_by("pk").values_list("state", flat=True))
    for before, after in pairwise(states):
        assert after in FOLLOWS[before], f"{before} → {after} in {states}"


def recorded(run: Run) -> int:
    """How many events of a run the database holds."""
    numbers = Attempt.objects.filter(run=run).values_list("number", flat=True)
    return sum(len(recorded_numbers(run, number)) for number in numbers)


def points_of(event: dict[str, Any]) -> list[tuple[Any, ...]]:
    if event["type"] != "metrics":
        return []
    place = (event.get("tokens") or 0, event.get("compute") or 0.0, event["wall_time"])
    return [
        (event["step"], key, repr(float(value)), *place) for key, value in event["values"].items()
    ]


def recorded_points(run: Run, attempt: int) -> Counter[tuple[Any, ...]]:
    """(step, key, value, tokens, compute, wall time) of every point of an attempt, its abandoned
    ones too.

    Values are text, because NaN equals nothing.
    """
    rows = (row for row in series_store.export_rows(run, abandoned=True) if row[0] == attempt)
    return Counter((step, key, repr(value), *place) for _, step, key, value, *place in rows)


def recorded_numbers(run: Run, attempt: int) -> set[int]:
    """Every event of an attempt that Postgres holds, whatever table it went to."""
    return series_store.sequence_numbers(run, attempt) | set(
        Event.objects.filter(run=run, attempt=attempt).values_list("seq", flat=True)
    )

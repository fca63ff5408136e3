"""Checks that the record of a run in Postgres is complete, without duplicates."""

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
        "running",  # a machine that was declared lost has returned
    },
    "starting": {"running", "stopping", "queued", "stopped", "failed", "completed"},
    "running": {"stopping", "queued", "stopped", "failed", "completed", "paused"},
    "stopping": {"stopping", "queued", "stopped", "failed", "completed", "paused"},
    "stopped": {"queued"},
    "paused": {"queued", "stopped"},
    "failed": {"queued"},
    "completed": set(),
}


FolderOf = Callable[[Attempt], Path]


def own_folder(attempt: Attempt) -> Path:
    """Return the folder in the attempt's row."""
    return Path(attempt.folder)


def folder_on(base: Path) -> FolderOf:
    """Return a function for attempt folders if each host has a state folder below `base`."""
    return lambda attempt: (
        base / attempt.host / "runs" / attempt.run.public_id / "attempts" / str(attempt.number)
    )


def read_log(folder: Path) -> list[dict[str, Any]]:
    return list(read(folder / "events"))


def assert_complete(run: Run, folder_of: FolderOf = own_folder) -> None:
    """Check that every event of every attempt is recorded once and all transitions are allowed."""
    for attempt in Attempt.objects.filter(run=run).order_by("number"):
        log = read_log(folder_of(attempt))
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1)), (
            f"the log of attempt {attempt.number} has gaps"
        )
        metric_seqs = {event["seq"] for event in log if event["type"] == "metrics"}
        differing = series_store.sequence_numbers(run, attempt.number) ^ metric_seqs
        assert not differing, (
            f"points of {len(differing)} events of attempt {attempt.number} are only in the log "
            f"or only recorded: {sorted(differing)[:10]}"
        )
        points = Counter(point for event in log for point in points_of(event))
        assert recorded_points(run, attempt.number) == points, (
            f"points of attempt {attempt.number} differ from its log, or are recorded twice"
        )
        rows = sorted(
            Event.objects.filter(run=run, attempt=attempt.number).values_list("seq", "type")
        )
        logged = [(event["seq"], event["type"]) for event in log if event["type"] != "metrics"]
        assert rows == logged, (
            f"events of attempt {attempt.number} differ from its log: "
            f"{sorted(set(rows) ^ set(logged))[:10]}"
        )
    assert_legal(run)


def assert_curve(run: Run, expected: Sequence[float]) -> None:
    """Check that the live branch has every step once and equals an undisturbed run, bit by bit."""
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
    """Return how many events of a run are recorded."""
    numbers = Attempt.objects.filter(run=run).values_list("number", flat=True)
    return sum(len(recorded_numbers(run, number)) for number in numbers)


def points_of(event: dict[str, Any]) -> list[tuple[Any, ...]]:
    if event["type"] != "metrics":
        return []
    coordinates = (event.get("tokens") or 0, event.get("compute") or 0.0, event["wall_time"])
    return [
        (event["step"], key, repr(float(value)), *coordinates)
        for key, value in event["values"].items()
    ]


def recorded_points(run: Run, attempt: int) -> Counter[tuple[Any, ...]]:
    """Return (step, key, value, tokens, compute, wall time) of all points, abandoned ones too.

    Values are text, because NaN equals nothing.
    """
    rows = (row for row in series_store.export_rows(run, abandoned=True) if row[0] == attempt)
    return Counter(
        (step, key, repr(value), *coordinates) for _, step, key, value, *coordinates in rows
    )


def recorded_numbers(run: Run, attempt: int) -> set[int]:
    """Return the numbers of all recorded events of an attempt, in all tables."""
    return series_store.sequence_numbers(run, attempt) | set(
        Event.objects.filter(run=run, attempt=attempt).values_list("seq", flat=True)
    )

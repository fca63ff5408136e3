"""Synthetic series, appended as the ingest appends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NOON = 1_760_000_000.0
SPIKE = 1e6
Values = Callable[[np.random.Generator, int, int], np.ndarray]


def smooth(chance: np.random.Generator, start: int, count: int) -> np.ndarray:
    """A rate that falls and is written with four digits, as schedules are."""
    return np.round(1 / np.sqrt(1 + np.arange(start, start + count) / 1000), 4)


def single(chance: np.random.Generator, start: int, count: int) -> np.ndarray:
    """A noisy loss that was computed in float32."""
    return (
        (smooth(chance, start, count) + 0.05 * chance.standard_normal(count))
        .astype(np.float32)
        .astype(np.float64)
    )


def double(chance: np.random.Generator, start: int, count: int) -> np.ndarray:
    """The same noise in float64, of which no bit is predictable."""
    return smooth(chance, start, count) + 0.05 * chance.standard_normal(count)


KINDS: dict[str, Values] = {"smooth": smooth, "float32 noise": single, "float64 noise": double}


def rows(
    keys: list[str], values: Values, first: int, last: int, spike: int | None = None, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """A row of all keys for each step in [first, last); the first key has a spike."""
    chance = np.random.default_rng([seed, first])
    columns = np.stack([values(chance, first, last - first) for _ in keys])
    if spike is not None and first <= spike < last:
        columns[0, spike - first] = SPIKE
    seconds = NOON + first * 0.37 + np.cumsum(0.37 + 0.02 * chance.random(last - first))
    for step, (second, row) in enumerate(
        zip(seconds.tolist(), columns.T.tolist(), strict=True), first
    ):
        axes = {
            "seq": step + 1,
            "step": step,
            "tokens": 480 * step,
            "compute": 2.5e9 * step,
            "wall_time": second,
        }
        yield {**axes, "values": dict(zip(keys, row, strict=True))}


def new_run(name: str) -> Any:
    """A run of a team of its own, with one attempt."""
    from webapp.access.models import Team
    from webapp.runs.models import Attempt, Run

    team, _ = Team.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    run = Run.objects.create(team=team, name=name, state="running", attempt=1)
    Attempt.objects.create(run=run, number=1, last_seq=1)
    return run


def append(run: Any, rows: list[dict[str, Any]]) -> None:
    """One transaction, as an ingest makes it."""
    from django.db import transaction

    from webapp.ingest.event_log import lock_and_count_batch
    from webapp.series import series_store

    with transaction.atomic():
        series_store.append(run, 1, rows, lock_and_count_batch(run.pk))


def stored_bytes() -> int:
    """What the tables of the series hold, indexes and all, after what is dead was cleared away."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "VACUUM FULL metrics_batch, metrics_series, metrics_axis, metrics_chunk, "
            "metrics_level, metrics_log"
        )
        cursor.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relname LIKE 'metrics\\_%'"
        )
        return int(cursor.fetchone()[0])

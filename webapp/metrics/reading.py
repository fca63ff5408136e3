"""What is asked of a run's points besides a chart: which keys there are, the latest values, every row, and a tag for caches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connection

from webapp.metrics.models import Point
from webapp.runs import branches
from webapp.runs.models import Run

# Jumps from one key to the next in the index on (run, key, step): its cost follows the number of keys, not of points.
KEYS = """
WITH RECURSIVE found AS (
    (SELECT key FROM metrics_point WHERE run_id = %s ORDER BY key LIMIT 1)
    UNION ALL
    SELECT (SELECT key FROM metrics_point WHERE run_id = %s AND key > found.key ORDER BY key LIMIT 1) FROM found WHERE found.key IS NOT NULL
) SELECT key FROM found WHERE key IS NOT NULL
"""


def keys(run: Run) -> list[str]:
    """The names of all series of `run`, sorted."""
    with connection.cursor() as cursor:
        cursor.execute(KEYS, [run.pk, run.pk])
        return [key for (key,) in cursor.fetchall()]


def latest(run: Run, wanted: Sequence[str]) -> dict[str, float]:
    """The last value on the live branch of each wanted key that has one."""
    live = Point.objects.filter(branches.live(run), run=run)
    found = {key: live.filter(key=key).order_by("-step", "-attempt", "-seq").values_list("value", flat=True).first() for key in wanted}
    return {key: value for key, value in found.items() if value is not None}


GLIMPSE = """
SELECT DISTINCT ON (step) step, value
FROM (SELECT min(step) AS low, max(step) AS high FROM metrics_point WHERE run_id = %(run)s AND key = %(key)s AND {live}) AS extent
CROSS JOIN generate_series(0, %(last)s) AS place
CROSS JOIN LATERAL (
    SELECT step, value FROM metrics_point
    WHERE run_id = %(run)s AND key = %(key)s AND step >= low + (high - low) * place / %(last)s AND {live}
    ORDER BY step, attempt DESC, seq DESC LIMIT 1
) AS found ORDER BY step
"""


def glimpse(run: Run, key: str, count: int) -> list[float]:
    """At most `count` values of the live branch, evenly over its steps: a sketch whose cost does not grow with the run."""
    with connection.cursor() as cursor:
        cursor.execute(GLIMPSE.format(live=branches.live_sql(run)), {"run": run.pk, "key": key, "last": count - 1})
        return [value for _, value in cursor.fetchall()]


def rows(run: Run, wanted: Sequence[str] | None = None, abandoned: bool = False) -> Iterator[tuple[Any, ...]]:
    """(attempt, step, key, value, tokens, compute, wall time) of every point, streamed in order of step; abandoned tails if asked for."""
    points = Point.objects.filter(run=run) if abandoned else Point.objects.filter(branches.live(run), run=run)
    if wanted is not None:
        points = points.filter(key__in=wanted)
    columns = ("attempt", "step", "key", "value", "tokens", "compute", "wall_time")
    return points.order_by("step", "attempt", "key", "seq").values_list(*columns).iterator(chunk_size=5000)


def etag(runs: Iterable[Run], *parts: object) -> str:
    """A tag that changes when any of the runs has news or the question (`parts`) differs."""
    state = "|".join([*(f"{run.public_id}:{run.news}" for run in runs), *map(str, parts)])
    return f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'


def pace(run: Run, attempt: int) -> float | None:
    """Seconds per step over the attempt so far, evaluations and checkpoints included; None before two steps are measured."""
    mine = Point.objects.filter(run=run, attempt=attempt, key="loss")
    first, last = mine.order_by("step").first(), mine.order_by("-step").first()
    if first is None or last is None or last.step == first.step:
        return None
    return max(0.0, (last.wall_time - first.wall_time) / (last.step - first.step))

"""Whatever is appended, in whatever order, reads back as if every point had been kept by itself."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.webapp.logs import NOON
from tests.webapp.series import reference
from webapp.runs.branches import segments
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import folding, series_store
from webapp.series.models import Series
from webapp.series.storage import bucket_levels, chunks

pytestmark = pytest.mark.django_db

KEYS = ("loss", "eval/pass_rate", "grad_norm")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens with a few dozen points: folds, growing and cut chunks, levels of several
    rows.
    """
    for module, name, value in (
        (folding, "MOST_ROWS", 24),
        (folding, "KEPT_ROWS", 6),
        (folding, "MOST_BATCHES", 7),
        (folding, "KEPT_BATCHES", 3),
        (chunks, "SMALL", 10),
        (chunks, "LARGEST", 16),
        (bucket_levels, "MIN_BITS", 2),
        (bucket_levels, "MIN_POINTS", 1),
        (bucket_levels, "MIN_BUCKETS", 3),
        (bucket_levels, "ROW_BITS", 2),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(chunks.write, "__defaults__", (16,))


@dataclass
class Log:
    """What an attempt wrote, and the batches of indices into it as they arrived. `rewind` is the
    step that it went back to.
    """

    rewind: int | None
    rows: list[dict[str, Any]]
    batches: list[list[int]]


def logs(chance: random.Random, attempts: int, length: int, in_order: bool) -> list[Log]:
    """Attempts that rewind; in order, or late, repeated, with steps and clocks that go back."""
    attempt_logs: list[Log] = []
    sparse = chance.choice([1, 1, 7, 1000])
    step = chance.choice([-1, 0, -300, 10**9])
    for number in range(attempts):
        rewind = None if number == 0 or chance.random() < 0.1 else step - chance.randint(0, 40)
        step = step if rewind is None else rewind
        rows = []
        for seq in range(1, chance.randint(1, length) + 1):
            step += chance.randint(1, sparse) if in_order else chance.randint(-3, 2 * sparse)
            rows.append(_row(chance, seq, step, in_order))
        indices = list(range(len(rows)))
        if not in_order:
            if chance.random() < 0.5:
                chance.shuffle(indices)
            indices += chance.choices(indices, k=chance.randint(0, 20))
        attempt_logs.append(Log(rewind, rows, list(_batches(chance, indices))))
    return attempt_logs


def _batches(chance: random.Random, indices: list[int]) -> Iterator[list[int]]:
    while indices:
        size = chance.choice([1, 2, 5, 11, 50])
        yield indices[:size]
        indices = indices[size:]


def _row(chance: random.Random, seq: int, step: int, in_order: bool) -> dict[str, Any]:
    keys = [key for key in KEYS if key == "loss" or chance.random() < 0.25]
    position = step if in_order else chance.randint(0, 500)
    values = {key: _number(chance) for key in keys}
    return {
        "seq": seq,
        "step": step,
        "tokens": 100 * max(position, 0),
        "compute": position * 0.3,
        "wall_time": NOON + position,
        "values": values,
    }


def _number(chance: random.Random) -> float:
    kind = chance.random()
    if kind < 0.1:
        return chance.choice([math.nan, math.inf, -math.inf, 5e-324, 8e307, -8e307, -0.0])
    return (
        float(chance.randint(-5, 5))
        if kind < 0.3
        else chance.gauss(0, 1) * 10 ** chance.choice([0, 0, 0, -30, 30])
    )


def appended(run: Run, attempt_logs: list[Log]) -> None:
    batch_numbers = itertools.count(1)
    for number, log in enumerate(attempt_logs, 1):
        Attempt.objects.create(run=run, number=number, last_seq=len(log.rows))
        if log.rewind is not None:
            rewound = {
                "seq": 0,
                "type": "rewind",
                "step": log.rewind,
                "wall_time": moment(NOON),
                "payload": {},
                "batch_number": 0,
            }
            Event.objects.create(run=run, attempt=number, **rewound)
        for batch in log.batches:
            series_store.append(
                run, number, [log.rows[index] for index in batch], next(batch_numbers)
            )


def close(numbers: list[float], expected: list[float], scale: float) -> bool:
    return len(numbers) == len(expected) and all(
        number == expected_number
        or (math.isnan(number) and math.isnan(expected_number))
        or math.isclose(number, expected_number, rel_tol=1e-9, abs_tol=scale)
        for number, expected_number in zip(numbers, expected, strict=True)
    )


ROUNDING = 1e-322
"""Of a mean of the smallest numbers that there are."""


def same(series: series_store.ChartSeries, expected: reference.Drawn | None) -> bool:
    if expected is None:
        return False
    size = max(
        (abs(value) for value in [*expected.min, *expected.max] if math.isfinite(value)),
        default=0.0,
    )
    return (
        (series.count, series.points, series.attempts)
        == (expected.count, len(expected.x), expected.attempts)
        and close(series.x, expected.x, 1e-5)
        and close(series.mean, expected.mean, max(1e-9 * size, ROUNDING))
        and all(
            close(getattr(series, name), getattr(expected, name), 0.0)
            for name in ("min", "max", "last")
        )
        and Counter(repr(value) for _, value in series.marks)
        <= Counter(repr(value) for _, value in expected.marks)
        and close(
            [x for x, _ in series.marks],
            [x for x, _ in expected.marks[: expected.most_marks]],
            1e-6,
        )
    )


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 2**32),
    attempts=st.integers(1, 3),
    length=st.sampled_from([3, 30, 120, 400]),
    in_order=st.booleans(),
)
def test_any_appends_read_back_at_any_width_range_and_axis(
    run: Run, seed: int, attempts: int, length: int, in_order: bool
) -> None:
    chance = random.Random(seed)
    run.started_at = moment(NOON)
    attempt_logs = logs(chance, attempts, length, in_order)
    with transaction.atomic():
        appended(run, attempt_logs)
        for _ in range(6):
            key, axis, width = (
                chance.choice(KEYS),
                chance.choice(get_args(series_store.Axis)),
                chance.choice([1, 2, 5, 13, 40, 1000]),
            )
            points = [
                logged_point
                for number, log in enumerate(attempt_logs, 1)
                for logged_point in reference.points_of(number, key, log.rows)
            ]
            points = [replace(point, wall_time=point.wall_time - NOON) for point in points]
            ends = [point.x(axis) for point in points] or [0.0]
            low, high = (
                None if chance.random() < 0.5 else chance.uniform(min(ends), max(ends))
                for _ in range(2)
            )
            check(run, key, points, axis, low, high, width, in_order)
        transaction.set_rollback(True)


def check(
    run: Run,
    key: str,
    points: list[reference.Point],
    axis: series_store.Axis,
    low: float | None,
    high: float | None,
    width: int,
    in_order: bool,
) -> None:
    all_series = series_store.read([run], [key], axis=axis, start=low, stop=high, width=width)
    question = (
        segments(run),
        axis,
        -math.inf if low is None else low,
        math.inf if high is None else high,
        width,
    )
    by_step = reference.draw(points, *question, by_step=True)
    by_x = reference.draw(points, *question, by_step=False)
    assert len(all_series) == (by_step is not None), (all_series, by_step)
    if all_series:
        assert same(all_series[0], by_step) or (
            axis != "step" and not in_order and same(all_series[0], by_x)
        ), (all_series[0], by_step, by_x)


@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from([1, 40, 5000, 10**6, 10**9]), st.integers(1, 300)),
        min_size=1,
        max_size=4,
    )
)
@example(parts=[(1, 300), (10**9, 300)])
def test_every_level_holds_every_point_however_far_the_steps_jump(
    run: Run, parts: list[tuple[int, int]]
) -> None:
    """`parts` are jumps of the step, each followed by a number of steps without a gap."""
    steps = list(_steps(parts))
    with transaction.atomic():
        rows = [
            _row(random.Random(seq), seq, step, in_order=True) | {"values": {"loss": float(seq)}}
            for seq, step in enumerate(steps, 1)
        ]
        indices = list(range(len(rows)))
        batches = [indices[start : start + 20] for start in indices[::20]]
        appended(run, [Log(None, rows, batches)])
        folding.fold(run.pk, 1)
        series = Series.objects.get(run=run, key="loss")
        for bits in bucket_levels.levels(series):
            (level,) = bucket_levels.fetch([bucket_levels.LevelRange(series.pk, bits)])
            counts = Counter(step >> bits for step in steps)
            assert dict(zip(level.index, level.count, strict=True)) == counts, bits
            sums: Counter[int] = Counter()
            for seq, step in enumerate(steps, 1):
                sums[step >> bits] += seq
            assert dict(zip(level.index, level.count * level.mean, strict=True)) == pytest.approx(
                sums
            ), bits
        (drawn,) = series_store.read([run], ["loss"], width=5)
        assert drawn.count == len(steps)
        transaction.set_rollback(True)


def _steps(parts: list[tuple[int, int]]) -> Iterator[int]:
    step = 0
    for jump, length in parts:
        step += jump
        yield from range(step, step + length)
        step += length

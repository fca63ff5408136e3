"""What charts read: one live curve, whole or in buckets that hide nothing."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.webapp.logs import NOON, losses
from tests.webapp.logs import metrics as logged
from webapp.runs.branches import segments
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store
from webapp.series.models import Axis, Batch, Log, Series

pytestmark = pytest.mark.django_db

in_database = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Half of what a double can hold, so that a difference of two values is finite too.
finite = st.floats(min_value=-8e307, max_value=8e307)


def attempt(
    run: Run, number: int, events: list[dict[str, Any]], rewound_to: int | None = None
) -> None:
    last_seq = max((event["seq"] for event in events), default=0)
    Attempt.objects.update_or_create(run=run, number=number, defaults={"last_seq": last_seq})
    if rewound_to is not None:
        rewind(run, number, 0, rewound_to)
    series_store.append(run, number, events, batch_number=number)


def rewind(run: Run, number: int, seq: int, step: int) -> None:
    Event.objects.create(
        run=run,
        attempt=number,
        seq=seq,
        type="rewind",
        step=step,
        wall_time=timezone.now(),
        payload={},
        batch_number=number,
    )


def forget(run: Run) -> None:
    for model in (Batch, Log, Series, Axis):
        model.objects.filter(run=run).delete()


def curve(run: Run, **question: Any) -> series_store.ChartSeries:
    (series,) = series_store.read([run], ["loss"], **question)
    return series


@in_database
@given(values=st.lists(finite, min_size=1, max_size=40))
def test_a_short_series_is_returned_as_it_was_written(run: Run, values: list[float]) -> None:
    forget(run)
    attempt(run, 1, [logged(seq, seq, loss=value) for seq, value in enumerate(values, 1)])
    series = curve(run)
    assert series.mean == series.min == series.max == series.last == values
    assert (series.x, series.count, series.points) == (
        [float(step) for step in range(1, len(values) + 1)],
        len(values),
        len(values),
    )


@in_database
@given(
    values=st.lists(finite, min_size=30, max_size=200), width=st.integers(min_value=1, max_value=25)
)
def test_buckets_keep_extremes_count_and_last_value(
    run: Run, values: list[float], width: int
) -> None:
    forget(run)
    attempt(run, 1, [logged(seq, seq, loss=value) for seq, value in enumerate(values, 1)])
    series = curve(run, width=width)
    assert series.points <= width + 1
    assert (min(series.min), max(series.max), series.last[-1], series.count) == (
        min(values),
        max(values),
        values[-1],
        len(values),
    )
    assert all(low <= high for low, high in zip(series.min, series.max, strict=True))
    assert series.x == sorted(series.x)


def test_the_mean_of_a_bucket_is_the_mean_of_its_values(run: Run) -> None:
    attempt(run, 1, losses(0, 63))
    assert curve(run, width=8).mean == [3.5, 11.5, 19.5, 27.5, 35.5, 43.5, 51.5, 59.5]


def test_buckets_stay_where_they_are_while_the_run_grows(run: Run) -> None:
    attempt(run, 1, losses(0, 63))
    before = curve(run, width=8)
    attempt(run, 1, losses(0, 70))
    after = curve(run, width=9)
    assert after.x[:8] == before.x
    assert after.mean[:8] == before.mean


def test_a_spike_of_one_step_is_seen_at_any_width(run: Run) -> None:
    attempt(
        run, 1, [logged(seq, seq, loss=1e6 if seq == 7_777 else 1.0) for seq in range(1, 10_001)]
    )
    assert [max(curve(run, width=width).max) for width in (3, 50, 1000)] == [1e6, 1e6, 1e6]


def test_the_same_batch_twice_is_one_copy(run: Run) -> None:
    for _ in range(2):
        attempt(run, 1, losses(1, 50))
    assert curve(run).count == 50


@in_database
@given(order=st.randoms(use_true_random=False))
def test_batches_in_any_order_give_the_same_curve(run: Run, order: random.Random) -> None:
    forget(run)
    events = losses(1, 40)
    batches = [events[start : start + 7] for start in range(0, 40, 7)]
    order.shuffle(batches)
    for batch in [*batches, batches[0]]:
        attempt(run, 1, batch)
    assert curve(run).mean == [float(step) for step in range(1, 41)]


def test_a_resumed_run_is_one_curve_and_its_abandoned_tail_is_left_out(run: Run) -> None:
    attempt(run, 1, losses(1, 125))
    attempt(
        run,
        2,
        [logged(seq, step, loss=1000.0 + step) for seq, step in enumerate(range(121, 131), 2)],
        rewound_to=120,
    )
    series = curve(run)
    assert series.x == [float(step) for step in range(1, 131)]
    assert series.mean[119:121] == [120.0, 1121.0]
    assert series.attempts == [1, 2]


def test_an_attempt_that_goes_further_back_cuts_all_before_it(run: Run) -> None:
    attempt(run, 1, losses(1, 50))
    attempt(run, 2, losses(41, 60), rewound_to=40)
    attempt(run, 3, losses(21, 30), rewound_to=20)
    assert curve(run).x == [float(step) for step in range(1, 31)]
    assert [(segment.attempt, segment.last) for segment in segments(run)] == [
        (1, 20),
        (2, 20),
        (3, None),
    ]


def test_an_attempt_that_begins_again_in_the_middle_of_its_log_is_one_curve(run: Run) -> None:
    """As when memory runs out in one of several processes, here twice: what the same attempt did
    after those steps is left out.
    """
    attempt(run, 1, losses(1, 30))
    attempt(run, 2, losses(21, 35, seq=2), rewound_to=20)
    rewind(run, 2, 17, 24)
    attempt(
        run, 2, [logged(seq, step, loss=100.0 + step) for seq, step in enumerate(range(25, 40), 18)]
    )
    rewind(run, 2, 33, 30)
    attempt(
        run,
        2,
        [logged(seq, step, loss=1000.0 + step) for seq, step in enumerate(range(31, 41), 34)],
    )
    series = curve(run)
    assert series.x == [float(step) for step in range(1, 41)]
    assert series.mean == [
        step + 100.0 * (25 <= step <= 30) + 1000.0 * (step > 30) for step in series.x
    ]
    assert series_store.latest(run, ["loss"]) == {"loss": 1040.0}
    assert len(list(series_store.export_rows(run, abandoned=True))) == 30 + 15 + 15 + 10


def test_a_first_attempt_that_rewinds_keeps_what_came_before(run: Run) -> None:
    attempt(run, 1, losses(1, 9))
    rewind(run, 1, 10, 4)
    attempt(run, 1, losses(5, 12, seq=11))
    assert curve(run).x == [float(step) for step in range(1, 13)]


def test_an_attempt_that_began_anew_replaces_everything(run: Run) -> None:
    attempt(run, 1, losses(0, 50))
    attempt(run, 2, losses(0, 10))
    assert curve(run).x == [float(step) for step in range(11)]


def test_an_attempt_that_has_written_nothing_hides_nothing(run: Run) -> None:
    attempt(run, 1, losses(1, 50))
    attempt(run, 2, [])
    assert curve(run).count == 50


def test_what_is_not_a_number_is_kept_and_marked(run: Run) -> None:
    attempt(
        run,
        1,
        [
            logged(seq, seq, loss=value)
            for seq, value in enumerate([1.0, "NaN", "Infinity", "-Infinity", 2.0], 1)
        ],
    )
    series = curve(run)
    assert math.isnan(series.mean[1])
    assert series.mean[2:4] == [math.inf, -math.inf]
    answer = json.loads(json.dumps(series.json(), allow_nan=False))
    assert answer["mean"] == [1, "NaN", "Infinity", "-Infinity", 2]
    assert answer["marks"] == [[2, "NaN"], [3, "Infinity"], [4, "-Infinity"]]


def test_a_bucket_is_measured_over_its_finite_values(run: Run) -> None:
    values = [float(step) if step % 4 else "NaN" for step in range(64)]
    attempt(run, 1, [logged(step + 1, step, loss=value) for step, value in enumerate(values)])
    series = curve(run, width=8)
    assert (series.mean[0], series.min[0], series.max[0]) == (24 / 6, 1.0, 7.0)
    assert len(series.marks) == 8


def test_a_bucket_without_a_finite_value_says_so(run: Run) -> None:
    attempt(
        run, 1, [logged(step + 1, step, loss=1.0 if step < 32 else "NaN") for step in range(64)]
    )
    series = curve(run, width=4)
    assert [series_store.json_number(value) for value in series.mean] == [1, 1, "NaN", "NaN"]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [("step", [2, 3]), ("tokens", [200, 300]), ("compute", [2e9, 3e9]), ("time", [2, 3])],
)
def test_every_axis_has_its_own_range(
    run: Run, axis: series_store.Axis, expected: list[float]
) -> None:
    from webapp.runs.event_rows import moment

    run.started_at = moment(NOON)
    attempt(run, 1, losses(1, 5))
    series = curve(run, axis=axis, start=expected[0], stop=expected[1])
    assert series.x == expected
    assert series.mean == [2.0, 3.0]


def test_only_what_is_past_a_cursor_is_read(run: Run) -> None:
    series_store.append(run, 1, losses(1, 10), batch_number=1)
    attempt(run, 1, [])
    series_store.append(run, 1, losses(11, 13, seq=11), batch_number=2)
    assert [series.x for series in series_store.read_since(run, 1) or []] == [[11, 12, 13]]
    assert series_store.read_since(run, 2) == []


def test_keys_latest_values_and_rows(run: Run) -> None:
    attempt(run, 1, [logged(1, 1, loss=3.0, grad_norm=1.0), logged(2, 2, loss=2.0, pass_rate=0.5)])
    attempt(run, 2, [logged(2, 2, loss=9.0)], rewound_to=1)
    assert series_store.keys(run) == ["grad_norm", "loss", "pass_rate"]
    assert series_store.latest(run, ["loss", "grad_norm", "absent"]) == {
        "loss": 9.0,
        "grad_norm": 1.0,
    }
    assert [row[:4] for row in series_store.export_rows(run, ["loss"])] == [
        (1, 1, "loss", 3.0),
        (2, 2, "loss", 9.0),
    ]
    assert len(list(series_store.export_rows(run, ["loss"], abandoned=True))) == 3


def test_the_tag_changes_with_news_and_with_the_question(run: Run) -> None:
    first = series_store.etag([run], "loss")
    assert first == series_store.etag([run], "loss")
    assert first != series_store.etag([run], "grad_norm")
    run.batch_count += 1
    assert first != series_store.etag([run], "loss")


def test_runs_do_not_mix(run: Run) -> None:
    second_run = Run.objects.create(team=run.team, name="other")
    attempt(run, 1, losses(1, 3))
    attempt(second_run, 1, losses(5, 6))
    assert [
        (series.run, series.count) for series in series_store.read([run, second_run], None)
    ] == [
        (run.public_id, 3),
        (second_run.public_id, 2),
    ]


def test_a_glimpse_is_short_whatever_the_length_of_the_run(run: Run) -> None:
    attempt(run, 1, losses(1, 500))
    attempt(run, 2, losses(401, 450, seq=2), rewound_to=400)
    glimpsed = series_store.sparkline(run, "loss", 10)
    assert len(glimpsed) <= 10
    assert glimpsed == sorted(glimpsed)
    assert (glimpsed[0] < 50, glimpsed[-1]) == (True, 450)
    assert series_store.sparkline(run, "absent", 10) == []

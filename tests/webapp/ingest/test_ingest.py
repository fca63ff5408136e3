"""Taking a log in: twice, in any order, late, damaged, or from two at once, it is recorded once and
as it was.
"""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connections
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.webapp.logs import NOON, event, losses
from tests.webapp.logs import metrics as logged
from webapp.base import notify
from webapp.ingest import progress
from webapp.ingest.event_log import ingest
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db

LOG = [
    event(1, "progress", step=0, total_steps=40, stage="forward", phase="training", done=0, of=40),
    event(
        2,
        "evaluation",
        step=0,
        when="before",
        role="evaluation",
        pass_rate=0.4,
        interval=[0.3, 0.5],
        groups=[],
        difference=None,
    ),
    *losses(1, 10, seq=3),
    event(13, "log", level="info", message="half way"),
    *losses(11, 20, seq=14),
    event(
        24,
        "evaluation",
        step=20,
        when="after",
        role="evaluation",
        pass_rate=0.6,
        interval=[0.5, 0.7],
        groups=[],
        difference={"pass_rate": 0.2, "interval": [0.1, 0.3]},
    ),
    event(25, "end", outcome="completed", reason="All steps are done.", remedy=""),
]


def recorded(run: Run) -> dict[str, Any]:
    """Everything that a page would show, but when it was measured."""
    stored_run = Run.objects.get(pk=run.pk)
    summary = {key: value for key, value in stored_run.summary.items() if key != "behind_s"}
    events = list(
        Event.objects.filter(run=run)
        .order_by("attempt", "seq")
        .values_list("attempt", "seq", "type", "step", "payload")
    )
    series = [curve.json() for curve in series_store.read([run], None)]
    facts = (stored_run.state, stored_run.step, stored_run.total_steps, stored_run.reason)
    return {"summary": summary, "events": events, "series": series, "facts": facts}


def test_a_log_becomes_a_run_page(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    claimed.refresh_from_db()
    assert (claimed.state, claimed.step, claimed.total_steps, claimed.reason) == (
        State.RUNNING,
        20,
        40,
        "All steps are done.",
    )
    summary = claimed.summary
    assert (
        summary["loss"],
        summary["pass_rate_before"],
        summary["pass_rate"],
        summary["phase"],
    ) == (20, 0.4, 0.6, "training")
    assert summary["difference"] == {"pass_rate": 0.2, "interval": [0.1, 0.3]}
    assert summary["sparkline"] == list(range(1, 21))
    assert summary["eta_s"] == 21  # 20 steps more, at 20 s for 19 steps
    assert Attempt.objects.get(run=claimed).last_seq == 25


def test_the_time_left_includes_the_final_evaluation(claimed: Run, tmp_path: Path) -> None:
    def asked(seq: int, done: int, of: int) -> dict[str, Any]:
        return event(seq, "progress", step=0, phase="evaluation", done=done, of=of)

    def evaluation(seq: int, role: str, problems: int) -> dict[str, Any]:
        sizes = {"problems": problems, "samples": 4, "pass_rate": 0.4}
        return event(seq, "evaluation", step=0, when="before", role=role, **sizes)

    # One second from event to event: 18 answers in 3 s, 2 in 1 s; before the first ones nothing.
    before = [
        *(asked(1, 2, 20), asked(2, 8, 20), asked(3, 14, 20), asked(4, 20, 20)),
        *(evaluation(5, "evaluation", 5), asked(6, 6, 8), asked(7, 8, 8)),
        evaluation(8, "retained", 2),
    ]
    training = event(9, "progress", step=0, total_steps=40, phase="training", done=0, of=40)
    ingest(claimed.pk, 1, [*before[:3], training, *losses(1, 20, seq=10)], tmp_path)
    claimed.refresh_from_db()
    assert (claimed.summary["eta_s"], claimed.summary["final_evaluation_s"]) == (20, None)
    ingest(claimed.pk, 1, before[3:], tmp_path)
    claimed.refresh_from_db()
    assert claimed.summary["final_evaluation_s"] == pytest.approx(28 * 4 / 20)
    assert claimed.summary["eta_s"] == round(20 + 28 * 4 / 20)
    # The final evaluation itself: half of it is done.
    last = event(30, "progress", step=40, total_steps=40, phase="evaluation", done=10, of=20)
    ingest(claimed.pk, 1, [*losses(21, 40, seq=31), last], tmp_path)
    claimed.refresh_from_db()
    assert claimed.summary["eta_s"] == round(claimed.summary["final_evaluation_s"] / 2)


def test_the_same_batch_twice_changes_nothing(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    once = recorded(claimed)
    ingest(claimed.pk, 1, LOG, tmp_path)
    assert recorded(claimed) == once


@examples(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.randoms(use_true_random=False), size=st.integers(min_value=3, max_value=12))
def test_batches_in_any_order_and_number_give_the_same_record(
    claimed: Run, tmp_path: Path, order: random.Random, size: int
) -> None:
    run_of_one_batch = lifecycle.create_run(claimed.team, claimed.owner, claimed.spec)
    run_of_batches = lifecycle.create_run(claimed.team, claimed.owner, claimed.spec)
    for run in (run_of_one_batch, run_of_batches):
        leases.claim(run.pk, "host-a")
    ingest(run_of_one_batch.pk, 1, LOG, tmp_path)
    batches = [LOG[start : start + size] for start in range(0, len(LOG), size)]
    order.shuffle(batches)
    for batch in [*batches, *batches[:2]]:
        ingest(run_of_batches.pk, 1, batch, tmp_path)
    for curve, expected_curve in zip(
        recorded(run_of_batches)["series"], recorded(run_of_one_batch)["series"], strict=True
    ):
        assert {**curve, "run": ""} == {**expected_curve, "run": ""}
    assert {key: value for key, value in recorded(run_of_batches).items() if key != "series"} == {
        key: value for key, value in recorded(run_of_one_batch).items() if key != "series"
    }


@pytest.mark.django_db(transaction=True)
def test_two_parallel_ingests_of_the_same_log_record_it_once(claimed: Run, tmp_path: Path) -> None:
    start = threading.Barrier(2)

    def send() -> None:
        start.wait()
        for first in range(0, len(LOG), 5):
            ingest(claimed.pk, 1, LOG[first : first + 5], tmp_path)
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [series.count for series in series_store.read([claimed], ["loss"])] == [20]
    assert Event.objects.filter(run=claimed).count() == 5


def test_every_batch_gets_the_next_number_and_notifies_redis(
    claimed: Run, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with redis.Redis.from_url(django_settings.REDIS_URL).pubsub(
        ignore_subscribe_messages=True
    ) as ear:
        ear.subscribe(f"run:{claimed.public_id}")
        ear.get_message(timeout=60)
        with django_capture_on_commit_callbacks(execute=True):
            cursors = [
                ingest(claimed.pk, 1, LOG[:3], tmp_path),
                ingest(claimed.pk, 1, LOG[3:], tmp_path),
            ]
        notifications = [
            json.loads(message["data"])
            for message in (ear.get_message(timeout=60), ear.get_message(timeout=60))
            if message
        ]
    assert cursors == [claimed.batch_count + 1, claimed.batch_count + 2]
    assert notifications == [{"news": cursor} for cursor in cursors]


def test_without_redis_nothing_is_lost(
    claimed: Run, tmp_path: Path, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    notify._client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1"
    with django_capture_on_commit_callbacks(execute=True):
        ingest(claimed.pk, 1, LOG, tmp_path)
    notify._client.cache_clear()
    assert series_store.read([claimed], ["loss"])[0].count == 20


def test_a_rewind_sets_the_step_of_the_run_back(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    leases.requeue(claimed.pk, 1, "Its machine is gone.")
    leases.claim(claimed.pk, "host-b")
    ingest(claimed.pk, 2, [event(1, "rewind", step=15), *losses(16, 17, seq=2)], tmp_path)
    claimed.refresh_from_db()
    assert claimed.step == 17
    assert series_store.read([claimed], ["loss"])[0].x == [float(step) for step in range(1, 18)]
    assert "difference" not in claimed.summary or claimed.summary["difference"] is None
    assert claimed.summary["pass_rate"] == 0.4


def test_late_events_of_a_replaced_attempt_are_stored_as_its_tail_and_change_nothing_else(
    claimed: Run, tmp_path: Path
) -> None:
    ingest(claimed.pk, 1, LOG[:12], tmp_path)
    leases.requeue(claimed.pk, 1, "Its machine is gone.")
    leases.claim(claimed.pk, "host-b")
    ingest(claimed.pk, 2, [event(1, "rewind", step=10), *losses(11, 12, seq=2)], tmp_path)
    before = recorded(claimed)
    ingest(claimed.pk, 1, LOG[12:], tmp_path)
    after = recorded(claimed)
    assert (after["facts"], after["summary"], after["series"]) == (
        before["facts"],
        before["summary"],
        before["series"],
    )
    assert len(list(series_store.export_rows(claimed, ["loss"], abandoned=True))) == 22


def test_an_ended_run_is_not_restarted_by_late_events(claimed: Run, tmp_path: Path) -> None:
    leases.finish(claimed.pk, 1, State.FAILED, "It broke.")
    ingest(claimed.pk, 1, LOG[:12], tmp_path)
    claimed.refresh_from_db()
    assert claimed.state == State.FAILED
    assert series_store.read([claimed], ["loss"])[0].count == 10


def test_an_unknown_attempt_or_run_is_refused(claimed: Run, tmp_path: Path) -> None:
    with pytest.raises(Attempt.DoesNotExist):
        ingest(claimed.pk, 7, LOG, tmp_path)
    claimed.delete()
    with pytest.raises(Attempt.DoesNotExist):
        ingest(claimed.pk, 1, LOG, tmp_path)


BAD: list[dict[str, Any]] = [
    {"seq": 1},
    {"seq": 2, "type": "metrics", "wall_time": NOON},
    {"seq": 3, "type": "metrics", "wall_time": NOON, "step": 1e300, "values": {}},
    {"seq": 4, "type": "metrics", "wall_time": NOON, "step": 1, "values": {"loss": "much"}},
    {
        "seq": 5,
        "type": "metrics",
        "wall_time": NOON,
        "step": 1,
        "tokens": -1,
        "values": {"loss": 1},
    },
    {"seq": 6, "type": "log", "wall_time": "noon", "message": "x"},
    {
        "seq": 7,
        "type": "rollouts",
        "wall_time": NOON,
        "step": 1,
        "file": {"name": "a", "sha256": "b"},
        "index": [{"problem": "p"}],
    },
    {"seq": 8, "type": "rewind", "wall_time": NOON},
    {"seq": 9, "type": 5, "wall_time": NOON},
    {"seq": 10, "type": "log", "wall_time": float("nan")},
]


def test_an_unreadable_event_becomes_a_warning_and_the_rest_is_recorded(
    claimed: Run, tmp_path: Path
) -> None:
    ingest(claimed.pk, 1, [*BAD, logged(11, 1, loss=0.5)], tmp_path)
    warnings = Event.objects.filter(run=claimed, type="log", payload__level="warning")
    assert [row.seq for row in warnings.order_by("seq")] == list(range(1, 11))
    assert (
        "could not be read: values.loss: Input should be a valid number"
        in warnings.get(seq=4).payload["message"]
    )
    assert series_store.latest(claimed, ["loss"]) == {"loss": 0.5}


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["NaN", "\0", "\ud800", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
types = st.sampled_from(
    [
        "metrics",
        "log",
        "progress",
        "evaluation",
        "rollouts",
        "checkpoint",
        "checkpoint_removed",
        "problem_set",
        "end",
        "rewind",
        "?",
    ]
)
fields = st.sampled_from(
    [
        "step",
        "wall_time",
        "values",
        "tokens",
        "compute",
        "message",
        "file",
        "index",
        "folder",
        "outcome",
        "pass_rate",
        "total_steps",
    ]
)


@examples(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    events=st.lists(
        st.tuples(types, st.dictionaries(fields, json_values, max_size=5)), min_size=1, max_size=4
    )
)
def test_no_event_stops_the_ingest(
    claimed: Run, tmp_path: Path, events: list[tuple[str, dict[str, Any]]]
) -> None:
    Event.objects.filter(run=claimed).delete()
    ingest(
        claimed.pk,
        1,
        [{**event(seq, type), **odd_fields} for seq, (type, odd_fields) in enumerate(events, 1)],
        tmp_path,
    )
    metrics = sum(type == "metrics" for type, _ in events)
    assert Event.objects.filter(run=claimed).count() + metrics >= len(events)
    json.dumps(Run.objects.get(pk=claimed.pk).summary, allow_nan=False)


@pytest.mark.parametrize("bad", [1, 7, 20])
def test_an_event_that_the_database_rejects_is_reported_and_the_rest_is_recorded(
    claimed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """Something that no check foresaw: the table itself says no to one of the rows."""
    append = series_store.append

    def refuses(
        run: Run, attempt: int, rows: list[dict[str, Any]], *more: Any, **options: Any
    ) -> None:
        append(
            run,
            attempt,
            [{**row, "step": 2**80 if row["seq"] == bad else row["step"]} for row in rows],
            *more,
            **options,
        )

    monkeypatch.setattr(series_store, "append", refuses)
    ingest(claimed.pk, 1, losses(1, 20), tmp_path)
    (series,) = series_store.read([claimed], ["loss"])
    assert series.x == [step for step in range(1, 21) if step != bad]
    (warning,) = Event.objects.filter(run=claimed)
    assert (warning.seq, warning.type, warning.payload["level"]) == (bad, "log", "warning")


def test_a_summary_that_cannot_be_computed_does_not_block_the_ingest(
    claimed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(progress, "refresh", breaks)
    ingest(claimed.pk, 1, losses(1, 20), tmp_path)
    assert series_store.read([claimed], ["loss"])[0].count == 20


@pytest.mark.parametrize(("more", "behind"), [(True, True), (False, False)])
def test_a_run_is_behind_only_while_more_events_wait(
    claimed: Run, tmp_path: Path, more: bool, behind: bool
) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path, more=more)
    assert (Run.objects.get(pk=claimed.pk).summary["behind_s"] > 1000) is behind

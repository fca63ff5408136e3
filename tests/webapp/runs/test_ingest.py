"""Taking a log in: twice, in any order, late, damaged, or from two at once, it is recorded once and as it was."""

from __future__ import annotations

import hashlib
import json
import os
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
from webapp import artifacts, metrics
from webapp.live import doorbell
from webapp.runs import files, lifecycle
from webapp.runs.ingest import ingest
from webapp.runs.models import Attempt, Checkpoint, Event, RolloutRow, Run, State

pytestmark = pytest.mark.django_db

LOG = [
    event(1, "progress", step=0, total_steps=40, stage="forward", phase="training", done=0, of=40),
    event(2, "evaluation", step=0, when="before", role="evaluation", pass_rate=0.4, interval=[0.3, 0.5], groups=[], difference=None),
    *losses(1, 10, seq=3),
    event(13, "log", level="info", message="half way"),
    *losses(11, 20, seq=14),
    event(24, "evaluation", step=20, when="after", role="evaluation", pass_rate=0.6, interval=[0.5, 0.7], groups=[],
          difference={"pass_rate": 0.2, "interval": [0.1, 0.3]}),
    event(25, "end", outcome="completed", reason="All steps are done.", remedy=""),
]  # fmt: skip


@pytest.fixture
def claimed(run: Run) -> Run:
    lifecycle.claim(run.pk, "host-a")
    run.refresh_from_db()
    return run


def recorded(run: Run) -> dict[str, Any]:
    """Everything that a page would show, but when it was measured."""
    fresh = Run.objects.get(pk=run.pk)
    summary = {key: value for key, value in fresh.summary.items() if key != "behind_s"}
    events = list(Event.objects.filter(run=run).order_by("attempt", "seq").values_list("attempt", "seq", "type", "step", "payload"))
    series = [one.json() for one in metrics.read([run], None)]
    facts = (fresh.state, fresh.step, fresh.total_steps, fresh.reason, fresh.last_event_at)
    return {"summary": summary, "events": events, "series": series, "facts": facts}


def test_a_log_becomes_a_run_page(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    claimed.refresh_from_db()
    assert (claimed.state, claimed.step, claimed.total_steps, claimed.reason) == (State.RUNNING, 20, 40, "All steps are done.")
    summary = claimed.summary
    assert (summary["loss"], summary["pass_rate_before"], summary["pass_rate"], summary["phase"]) == (20, 0.4, 0.6, "training")
    assert summary["difference"] == {"pass_rate": 0.2, "interval": [0.1, 0.3]}
    assert summary["sparkline"] == list(range(1, 21))
    assert summary["eta_s"] == 21  # 20 steps more, at 20 s for 19 steps
    assert Attempt.objects.get(run=claimed).last_seq == 25


def test_the_same_batch_twice_changes_nothing(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    once = recorded(claimed)
    ingest(claimed.pk, 1, LOG, tmp_path)
    assert recorded(claimed) == once


@examples(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False), size=st.integers(min_value=3, max_value=12))
def test_batches_in_any_order_and_number_give_the_same_record(claimed: Run, tmp_path: Path, order: random.Random, size: int) -> None:
    whole = lifecycle.create_run(claimed.team, claimed.owner, claimed.spec)
    parts = lifecycle.create_run(claimed.team, claimed.owner, claimed.spec)
    for run in (whole, parts):
        lifecycle.claim(run.pk, "host-a")
    ingest(whole.pk, 1, LOG, tmp_path)
    batches = [LOG[start : start + size] for start in range(0, len(LOG), size)]
    order.shuffle(batches)
    for batch in [*batches, *batches[:2]]:
        ingest(parts.pk, 1, batch, tmp_path)
    for one, other in zip(recorded(parts)["series"], recorded(whole)["series"], strict=True):
        assert {**one, "run": ""} == {**other, "run": ""}
    assert {key: value for key, value in recorded(parts).items() if key != "series"} == {
        key: value for key, value in recorded(whole).items() if key != "series"
    }


@pytest.mark.django_db(transaction=True)
def test_two_who_send_the_same_log_at_once_record_it_once(claimed: Run, tmp_path: Path) -> None:
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
    assert [series.count for series in metrics.read([claimed], ["loss"])] == [20]
    assert Event.objects.filter(run=claimed).count() == 5


def test_every_batch_gets_the_next_number_and_says_so_on_redis(
    claimed: Run, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with redis.Redis.from_url(django_settings.REDIS_URL).pubsub(ignore_subscribe_messages=True) as ear:
        ear.subscribe(f"run:{claimed.public_id}")
        ear.get_message(timeout=5)
        with django_capture_on_commit_callbacks(execute=True):
            cursors = [ingest(claimed.pk, 1, LOG[:3], tmp_path), ingest(claimed.pk, 1, LOG[3:], tmp_path)]
        heard = [json.loads(message["data"]) for message in (ear.get_message(timeout=5), ear.get_message(timeout=5)) if message]
    assert cursors == [claimed.news + 1, claimed.news + 2]
    assert heard == [{"news": cursor} for cursor in cursors]


def test_without_redis_nothing_is_lost(claimed: Run, tmp_path: Path, settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    doorbell._client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1"
    with django_capture_on_commit_callbacks(execute=True):
        ingest(claimed.pk, 1, LOG, tmp_path)
    doorbell._client.cache_clear()
    assert metrics.read([claimed], ["loss"])[0].count == 20


def test_a_rewind_takes_the_run_back(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG, tmp_path)
    lifecycle.requeue(claimed.pk, 1, "Its machine is gone.")
    lifecycle.claim(claimed.pk, "host-b")
    ingest(claimed.pk, 2, [event(1, "rewind", step=15), *losses(16, 17, seq=2)], tmp_path)
    claimed.refresh_from_db()
    assert claimed.step == 17
    assert metrics.read([claimed], ["loss"])[0].x == [float(step) for step in range(1, 18)]
    assert "difference" not in claimed.summary or claimed.summary["difference"] is None
    assert claimed.summary["pass_rate"] == 0.4


def test_late_events_of_a_replaced_attempt_are_kept_as_its_tail_and_change_nothing_else(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, LOG[:12], tmp_path)
    lifecycle.requeue(claimed.pk, 1, "Its machine is gone.")
    lifecycle.claim(claimed.pk, "host-b")
    ingest(claimed.pk, 2, [event(1, "rewind", step=10), *losses(11, 12, seq=2)], tmp_path)
    before = recorded(claimed)
    ingest(claimed.pk, 1, LOG[12:], tmp_path)
    after = recorded(claimed)
    assert (after["facts"], after["summary"], after["series"]) == (before["facts"], before["summary"], before["series"])
    assert len(list(metrics.rows(claimed, ["loss"], abandoned=True))) == 22


def test_a_run_that_is_over_is_not_revived_by_late_events(claimed: Run, tmp_path: Path) -> None:
    lifecycle.finish(claimed.pk, 1, State.FAILED, "It broke.")
    ingest(claimed.pk, 1, LOG[:12], tmp_path)
    claimed.refresh_from_db()
    assert claimed.state == State.FAILED
    assert metrics.read([claimed], ["loss"])[0].count == 10


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
    {"seq": 5, "type": "metrics", "wall_time": NOON, "step": 1, "tokens": -1, "values": {"loss": 1}},
    {"seq": 6, "type": "log", "wall_time": "noon", "message": "x"},
    {"seq": 7, "type": "rollouts", "wall_time": NOON, "step": 1, "file": {"name": "a", "sha256": "b"}, "index": [{"problem": "p"}]},
    {"seq": 8, "type": "rewind", "wall_time": NOON},
    {"seq": 9, "type": 5, "wall_time": NOON},
    {"seq": 10, "type": "log", "wall_time": float("nan")},
]


def test_what_cannot_be_read_becomes_a_warning_and_holds_up_nothing(claimed: Run, tmp_path: Path) -> None:
    ingest(claimed.pk, 1, [*BAD, logged(11, 1, loss=0.5)], tmp_path)
    warnings = Event.objects.filter(run=claimed, type="log", payload__level="warning")
    assert [row.seq for row in warnings.order_by("seq")] == list(range(1, 11))
    assert "could not be read: values.loss: Input should be a valid number" in warnings.get(seq=4).payload["message"]
    assert metrics.latest(claimed, ["loss"]) == {"loss": 0.5}


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["NaN", "\0", "\ud800", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
types = st.sampled_from(
    ["metrics", "log", "progress", "evaluation", "rollouts", "checkpoint", "checkpoint_removed", "problem_set", "end", "rewind", "?"]
)
fields = st.sampled_from(
    ["step", "wall_time", "values", "tokens", "compute", "message", "file", "index", "folder", "outcome", "pass_rate", "total_steps"]
)


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(st.tuples(types, st.dictionaries(fields, json_values, max_size=5)), min_size=1, max_size=4))
def test_no_event_however_mad_stops_the_record(claimed: Run, tmp_path: Path, found: list[tuple[str, dict[str, Any]]]) -> None:
    Event.objects.filter(run=claimed).delete()
    ingest(claimed.pk, 1, [{**event(seq, type), **mad} for seq, (type, mad) in enumerate(found, 1)], tmp_path)
    known = Event.objects.filter(run=claimed).count() + sum(type == "metrics" for type, _ in found)
    assert known >= len(found)
    json.dumps(Run.objects.get(pk=claimed.pk).summary, allow_nan=False)


def rollouts(seq: int, file: dict[str, Any]) -> dict[str, Any]:
    index = [
        {"problem": "p1", "source": "student", "sample": i, "verdict": verdict, "truncated": False, "length": 9, "weight": 0.5,
         "divergence": "NaN", "excerpt": "7 \0 " + "x" * 500}
        for i, verdict in enumerate([True, None])
    ]  # fmt: skip
    return event(seq, "rollouts", step=4, stage="forward", role="train", file=file, kept=2, of=16, index=index)


def side_file(folder: Path, content: bytes = b"parquet") -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "side").mkdir(exist_ok=True)
    (folder / "side" / f"{sha256}.parquet").write_bytes(content)
    return {"name": f"{sha256}.parquet", "sha256": sha256, "rows": 2}


def test_rollouts_are_indexed_and_their_file_is_stored(claimed: Run, tmp_path: Path) -> None:
    file = side_file(tmp_path)
    for _ in range(2):
        ingest(claimed.pk, 1, [rollouts(1, file)], tmp_path)
    rows = RolloutRow.objects.filter(run=claimed).order_by("offset")
    assert [(row.offset, row.problem, row.verdict, row.artifact) for row in rows] == [
        (0, "p1", True, file["sha256"]),
        (1, "p1", None, file["sha256"]),
    ]
    assert len(rows[0].excerpt) == 240
    assert artifacts.path(claimed.team, file["sha256"]).read_bytes() == b"parquet"
    assert "index" not in Event.objects.get(run=claimed, type="rollouts").payload


def test_a_side_file_that_is_missing_or_altered_is_reported_not_indexed(claimed: Run, tmp_path: Path) -> None:
    altered = side_file(tmp_path)
    (tmp_path / "side" / altered["name"]).write_bytes(b"something else")
    missing = {"name": "gone.parquet", "sha256": "0" * 64, "rows": 2}
    outside = {"name": "../../secret", "sha256": "1" * 64, "rows": 2}
    ingest(claimed.pk, 1, [rollouts(seq, file) for seq, file in enumerate([altered, missing, outside], 1)], tmp_path)
    troubles = [row.payload["trouble"] for row in Event.objects.filter(run=claimed).order_by("seq")]
    assert "its hash differs" in troubles[0]
    assert troubles[1] == "gone.parquet is missing"
    assert "no plain file name" in troubles[2]
    assert not RolloutRow.objects.exists()


def test_a_full_disk_is_reported_and_the_record_goes_on(claimed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    ingest(claimed.pk, 1, [rollouts(1, side_file(tmp_path)), logged(2, 4, loss=0.5)], tmp_path)
    assert Event.objects.get(run=claimed, type="rollouts").payload["trouble"] == "it could not be stored: No space left on device"
    assert metrics.latest(claimed, ["loss"]) == {"loss": 0.5}


def checkpoint(folder: Path, step: int) -> dict[str, Any]:
    """Write a checkpoint as the trainer does; return what its event says."""
    place = folder / "checkpoints" / f"step-{step:08d}"
    place.mkdir(parents=True)
    content = {"student.safetensors": f"weights {step}".encode(), "tokenizer.json": b"the same in all"}
    for name, data in content.items():
        (place / name).write_bytes(data)
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in content.items()}
    (place / "manifest.json").write_text(json.dumps({"version": 1, "step": step, "stage": "forward", "metrics": {}, "files": listed}))
    return {"step": step, "stage": "forward", "folder": f"checkpoints/{place.name}", "bytes": 30, "best": False, "metrics": {"loss": 1.0}}


def test_a_checkpoint_counts_once_it_is_whole_in_the_store(claimed: Run, tmp_path: Path) -> None:
    first, second = checkpoint(tmp_path, 10), checkpoint(tmp_path, 20)
    (tmp_path / second["folder"] / "student.safetensors").unlink()
    ingest(claimed.pk, 1, [event(1, "checkpoint", **first), event(2, "checkpoint", **second)], tmp_path)
    latest = files.latest_checkpoint(claimed.pk)
    assert latest is not None
    assert latest.step == 10
    assert "student.safetensors is missing" in Event.objects.get(run=claimed, seq=2).payload["trouble"]
    files.restore(latest, tmp_path / "elsewhere")
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / first["folder"]).iterdir()
    }


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0, 0)])
def test_a_removed_checkpoint_is_gone_whichever_event_came_first(claimed: Run, tmp_path: Path, order: tuple[int, ...]) -> None:
    events = [
        event(1, "checkpoint", **checkpoint(tmp_path, 10)),
        event(2, "checkpoint", **checkpoint(tmp_path, 20)),
        event(3, "checkpoint_removed", step=10, folder="checkpoints/step-00000010"),
    ]
    for position in order:
        ingest(claimed.pk, 1, [events[position]], tmp_path)
    assert list(Checkpoint.objects.filter(run=claimed).values_list("step", flat=True)) == [20]

"""Parts of jobs on devices: every part counts once, and slow or silent copies delay nothing."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from trainer.spec.jobs import load_job
from trainer.text.jobs.tallies import tally
from webapp.access.models import Team
from webapp.jobs import lifecycle, results
from webapp.jobs.models import Copy, Job, Shard, State
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.nodes.models import Device, Node
from webapp.runs import lifecycle as runs
from webapp.runs.transitions import TransitionRefused
from workers.machine import allocation as devices
from workers.machine import hardware, registration
from workers.machine.hardware import DetectedDevice
from workers.shards import placement

ROW = {"place": 0, "id": "a", "question": "1+1", "reference": "2", "domain": "", "difficulty": ""}


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    folder = {"OPTIONS": {"location": tmp_path / "store"}}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {**settings.STORAGES["artifacts"], **folder},
    }


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that gives this host so many slots."""

    def register(count: int) -> None:
        monkeypatch.setattr(
            hardware,
            "devices",
            lambda: [DetectedDevice("cpu", index, "", None) for index in range(count)],
        )
        registration.register()

    return register


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Copy]:
    """Return the copies whose runners would be started; no process is started here."""
    copies: list[Copy] = []

    def start(copy: Copy) -> bool:
        copies.append(copy)
        return True

    monkeypatch.setattr(placement, "start_runner", start)
    return copies


def job(team: str = "cellar", problems: int = 256, devices: int = 1, **changes: Any) -> Job:
    owner, _ = Team.objects.get_or_create(slug=team, defaults={"name": team})
    spec = load_job(
        {"name": "rates", "problems": {"kind": "arithmetic", "count": problems}, **changes}
    )
    return lifecycle.create_job(owner, None, spec, problems, devices)


def answer(copy: Copy, right: bool = True) -> bool:
    """Store a result of one problem for the copy."""
    answer_row = {"verdict": right, "truncated": False, "tokens": 3, "read": "2", "text": "1+1=2"}
    row = {**ROW, "answers": [answer_row]}
    artifact = artifacts.put(io.BytesIO(repr((row, right)).encode()), copy.shard.job.team)
    return lifecycle.complete(copy, artifact, tally([row]).to_json())


def age(copy: Copy, seconds: float) -> None:
    past = timezone.now() - timedelta(seconds=seconds)
    Copy.objects.filter(pk=copy.pk).update(started_at=past, heartbeat_at=past)


def outcomes(job: Job) -> list[tuple[int, str]]:
    return list(
        Copy.objects.filter(shard__job=job)
        .order_by("shard__part", "number")
        .values_list("shard__part", "outcome")
    )


def test_a_job_has_some_parts_for_each_device_and_none_smaller_than_a_block() -> None:
    assert lifecycle.parts_for(1000, 64, 2) == 8
    assert lifecycle.parts_for(100, 64, 2) == 2
    assert lifecycle.parts_for(1, 64, 0) == 1
    assert lifecycle.parts_for(10**6, 64, 100) == 64
    assert lifecycle.parts_for(None, 64, 2) == 16


@pytest.mark.django_db(transaction=True)
def test_one_of_many_workers_claims_a_part(slots: Callable[[int], None]) -> None:
    slots(8)
    [shard] = Shard.objects.filter(job=job(problems=3))
    gate, claims = threading.Barrier(6), []

    def claim() -> None:
        gate.wait()
        claims.append(placement.claim(shard))
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([copy for copy in claims if copy is not None]) == 1
    assert Device.objects.exclude(allocated_to="").count() == 1


@pytest.mark.django_db
def test_devices_are_shared_between_teams_and_then_between_jobs(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(5)
    first, second, other_team = job(), job(), job(team="press")
    assert placement.place_waiting() == 5
    assert [copy.shard.job for copy in started] == [first, other_team, second, other_team, first]
    assert [copy.shard.part for copy in started if copy.shard.job == first] == [0, 1]
    assert placement.place_waiting() == 0


@pytest.mark.django_db
def test_jobs_do_not_take_devices_that_a_run_waits_for(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(3)
    job()
    waiting = runs.create_run(
        Team.objects.get(), None, {"name": "large", "compute": {"processes": 2, "device": "cpu"}}
    )
    assert placement.place_waiting() == 1, "two of three are reserved for the run"
    runs.request_stop(waiting)
    assert placement.place_waiting() == 2


@pytest.mark.django_db
def test_a_large_run_is_not_starved_by_small_parts(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(2)
    job()
    devices.claim(1, "cpu", "run/other/1")
    runs.create_run(
        Team.objects.get(), None, {"name": "large", "compute": {"processes": 2, "device": "cpu"}}
    )
    assert placement.place_waiting() == 0, "the free one is kept until the other is given back"


@pytest.mark.django_db
def test_jobs_keep_within_the_quota_of_their_team(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(3)
    job()
    Team.objects.update(device_quota=1)
    assert placement.place_waiting() == 1


@pytest.mark.django_db
def test_no_copy_is_declared_lost_right_after_losing_the_database(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(1)
    job(problems=3)
    placement.place_waiting()
    Copy.objects.update(host="elsewhere")
    age(started[0], 300)
    placement.sweep(may_declare_lost=False)
    assert Copy.objects.get().outcome == ""
    placement.sweep()
    assert Copy.objects.filter(number=1, outcome="lost").exists()


@pytest.mark.django_db
def test_nothing_is_placed_on_a_drained_machine(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(2)
    job()
    Node.objects.update(draining=True)
    assert placement.place_waiting() == 0


@pytest.mark.django_db(transaction=True)
def test_the_first_of_simultaneous_results_wins(slots: Callable[[int], None]) -> None:
    slots(1)
    new_job = job(problems=3)
    copy = placement.claim(new_job.shards.get())
    assert copy is not None
    gate, won = threading.Barrier(4), []

    def store_result(right: bool) -> None:
        gate.wait()
        won.append((answer(copy, right), right))
        connections.close_all()

    threads = [
        threading.Thread(target=store_result, args=[bool(number % 2)]) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(_, right)] = [result for result in won if result[0]]
    assert results.tally_of(new_job).pass_rate[0] == float(right)
    assert Artifact.objects.count() == 2
    assert artifacts.collect(timedelta(0)) == 1, "the artifact of the late result is deleted"


@pytest.mark.django_db
def test_a_slow_part_gets_a_second_copy_once_devices_are_idle(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(2)
    new_job = job(problems=192, devices=2)
    placement.place_waiting()
    quick, slow = started
    answer(quick)
    Copy.objects.filter(pk=quick.pk).update(started_at=timezone.now() - timedelta(seconds=20))
    devices.release(quick.allocation_key)
    age(slow, 50)
    placement.place_waiting()
    assert [copy.shard.part for copy in started] == [0, 1, 2], (
        "a waiting part comes first, and 50 s are less than three times 20 s"
    )
    age(slow, 70)
    answer(started[2])
    devices.release(started[2].allocation_key)
    Copy.objects.filter(outcome="won").update(started_at=timezone.now() - timedelta(seconds=20))
    assert placement.place_waiting() == 1
    assert (started[3].shard.part, started[3].number) == (1, 2)
    devices.release(started[3].allocation_key)
    assert placement.place_waiting() == 0, "a part has two copies at most"
    assert answer(started[3]) and not answer(slow)
    assert outcomes(new_job) == [(0, "won"), (1, "late"), (1, "won"), (2, "won")]


@pytest.mark.django_db
def test_a_lost_part_is_tried_three_times_at_most(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(1)
    new_job = job(problems=3)
    for number in range(1, 4):
        placement.sweep()
        assert started[-1].number == number
        started[-1].host = "gone"
        Copy.objects.update(host="gone")
        age(started[-1], 90)
    placement.sweep()
    new_job.refresh_from_db()
    assert new_job.state == State.FAILED
    assert (
        new_job.reason
        == "Part 1 failed 3 times; the last time: The machine gone was not heard of any more."
    )
    assert not Device.objects.exclude(allocated_to="").exists()
    assert len(started) == 3


@pytest.mark.django_db
def test_a_silent_copy_of_this_host_gets_a_new_runner(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(1)
    job(problems=3)
    placement.sweep()
    age(started[0], 40)
    placement.sweep()
    assert [copy.pk for copy in started] == [started[0].pk] * 2


@pytest.mark.django_db
def test_a_job_whose_runner_died_after_the_last_part_is_completed(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(1)
    new_job = job(problems=3)
    placement.place_waiting()
    answer(started[0])
    placement.sweep()
    new_job.refresh_from_db()
    assert new_job.state == State.COMPLETED
    assert not Device.objects.exclude(allocated_to="").exists()


@pytest.mark.django_db
def test_answers_that_no_data_set_can_hold_end_the_job_and_say_why(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    """A teacher may write any text: the sweep goes on to other jobs, and the answers stay."""
    slots(1)
    written = job(problems=64, work={"kind": "teacher_answers"})
    placement.place_waiting()
    reply = {"verdict": True, "truncated": False, "tokens": 3, "read": "2", "text": "x" * 150_000}
    row = {**ROW, "answers": [reply]}
    artifact = artifacts.put(io.BytesIO(json.dumps(row).encode() + b"\n"), written.team)
    assert lifecycle.complete(started[0], artifact, tally([row]).to_json())
    placement.sweep()
    written.refresh_from_db()
    assert (written.state, written.data_set) == (State.COMPLETED, None)
    assert "No data set was made of the answers" in written.reason
    assert "150,000 characters" in written.reason


@pytest.mark.django_db
def test_a_stopped_job_accepts_no_result_and_starts_nothing(
    slots: Callable[[int], None], started: list[Copy]
) -> None:
    slots(2)
    new_job = job(problems=300)
    placement.place_waiting()
    lifecycle.stop(new_job)
    assert not lifecycle.heartbeat(started[0], 3)
    assert not answer(started[0])
    assert placement.place_waiting() == 0
    with pytest.raises(TransitionRefused, match="stopped already"):
        lifecycle.stop(new_job)
    lifecycle.delete(new_job)
    assert not Copy.objects.exists()

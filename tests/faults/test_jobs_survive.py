"""Processes die or hang during a job: its result is that of an undisturbed trainer."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.utils import timezone

from trainer.spec.jobs import load_job
from trainer.text.jobs.execution import execute_part
from webapp.access.models import Team
from webapp.jobs import lifecycle, results
from webapp.jobs.models import Copy, Job, Shard, State
from webapp.nodes.models import Device
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import host, registration
from workers.shards import placement
from workers.shards.runner import store_result

from .conftest import send_signal, until

PROBLEMS = 12
SPEC: dict[str, Any] = {
    "name": "rates",
    "work": {"kind": "pass_rates", "samples": 2, "keep_texts": True},
    "problems": {"kind": "arithmetic", "count": PROBLEMS},
    "sampling": {"max_new_tokens": 24},
    "compute": {"device": "cpu", "block": PROBLEMS // 3},
}


@pytest.fixture(autouse=True)
def _devices(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register four slots here; kill what a test has started."""
    monkeypatch.setenv("STILLROOM_SLOTS", "4")
    monkeypatch.setattr(host, "LEASE_SECONDS", 30.0)
    registration.register()
    yield
    Job.objects.filter(state=State.RUNNING).update(state=State.STOPPED)
    for copy in Copy.objects.all():
        process_of(copy).kill()
    until(lambda: not Copy.objects.filter(ended_at=None).exists())


def job(team: Team, **changes: Any) -> Job:
    return lifecycle.create_job(team, None, load_job({**SPEC, **changes}), PROBLEMS, 1)


def process_of(copy: Copy) -> TrainerProcess:
    return TrainerProcess(placement.folder_of(copy))


def started(copy: Copy) -> bool:
    return process_of(copy).pid() is not None


def runner_of(copy: Copy) -> psutil.Process:
    arguments = ["carry-shard", str(copy.pk)]
    return next(
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[3:5] == arguments
    )


def over(row: Job) -> bool:
    row.refresh_from_db()
    return row.state != State.RUNNING


def test_killed_and_hanging_processes_do_not_change_the_result_of_a_job(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = job(team)
    assert placement.place_waiting() == 3
    killed, orphaned, hanging = Copy.objects.order_by("shard__part")
    for copy in (killed, orphaned, hanging):
        until(partial(started, copy))
    send_signal(process_of(hanging), signal.SIGSTOP)
    send_signal(process_of(killed), signal.SIGKILL)
    runner = runner_of(orphaned)
    runner.kill()
    runner.wait(120)
    until(lambda: Copy.objects.filter(pk=killed.pk, outcome="failed").exists())
    Copy.objects.filter(pk=orphaned.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=40))
    placement.sweep()
    until(lambda: submitted.shards.exclude(result=None).count() == 2)

    monkeypatch.setattr(placement, "LEAST_SLOW_SECONDS", 0.1)
    monkeypatch.setattr(placement, "SLOW", 0.1)
    until(placement.place_waiting)
    until(lambda: over(submitted))
    assert submitted.state == State.COMPLETED, submitted.reason

    send_signal(process_of(hanging), signal.SIGCONT)
    until(lambda: Device.objects.exclude(allocated_to="").count() == 0)
    copies = Copy.objects.order_by("shard__part", "number").values_list(
        "shard__part", "number", "outcome"
    )
    assert list(copies) == [
        (0, 1, "failed"),
        (0, 2, "won"),
        (1, 1, "won"),
        (2, 1, "late"),
        (2, 2, "won"),
    ]
    assert "killed by signal 9" in Copy.objects.get(pk=killed.pk).reason

    execute_part(load_job(SPEC), 0, 1, tmp_path / "undisturbed.jsonl")
    assert list(results.lines(submitted)) == [
        json.loads(line) for line in (tmp_path / "undisturbed.jsonl").open()
    ]
    assert results.tally_of(submitted).problems == PROBLEMS


def test_a_part_whose_result_is_stored_twice_counts_once(team: Team, tmp_path: Path) -> None:
    submitted = job(
        team,
        problems={"kind": "arithmetic", "count": 4},
        compute={"device": "cpu", "block": PROBLEMS},
    )
    spec = load_job(submitted.spec)
    copies = [
        Copy.objects.create(shard=shard, number=number, host="a", device="cpu 0")
        for shard in submitted.shards.all()
        for number in (1, 2)
    ]
    for index, copy in enumerate(copies):
        execute_part(spec, copy.shard.part, submitted.shards.count(), tmp_path / f"{index}.jsonl")
    assert [
        store_result(copy, tmp_path / f"{index}.jsonl") for index, copy in enumerate(copies)
    ] == [
        True,
        False,
    ] * submitted.shards.count()
    assert store_result(copies[0], tmp_path / "0.jsonl") is False
    assert results.tally_of(submitted).problems == 4
    assert over(submitted) and submitted.state == State.COMPLETED


def test_a_stop_ends_the_processes_and_frees_the_devices(team: Team) -> None:
    submitted = job(team, compute={"device": "cpu", "block": PROBLEMS // 2})
    placement.place_waiting()
    copies = list(Copy.objects.all())
    for copy in copies:
        until(partial(started, copy))
    lifecycle.stop(submitted)
    until(lambda: not Device.objects.exclude(allocated_to="").exists())
    assert not any(map(started, copies))
    assert set(Copy.objects.values_list("outcome", flat=True)) == {"stopped"}


def test_unusable_data_fails_the_job_with_a_reason(
    team: Team, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.csv").write_text("question,answer\nwhy?,\n")
    monkeypatch.setenv("STILLROOM_FILE_ROOTS", str(tmp_path))
    settings.STILLROOM_FILE_ROOTS = (tmp_path,)
    submitted = job(
        team,
        problems={"kind": "file", "path": f"file:{tmp_path / 'bad.csv'}"},
        compute={"device": "cpu", "block": PROBLEMS},
    )
    placement.place_waiting()
    until(lambda: over(submitted))
    assert submitted.state == State.FAILED
    assert submitted.reason == (
        "Row 2 of bad.csv has no answer; fill it in, remove the row, "
        "or set unusable rows to leave out."
    )
    assert Shard.objects.filter(job=submitted, result=None).exists()


def test_the_answers_of_a_teacher_become_a_data_set(team: Team) -> None:
    submitted = job(
        team,
        work={"kind": "teacher_answers"},
        model={"kind": "model", "model": "builtin:teacher"},
        compute={"block": PROBLEMS},
    )
    placement.place_waiting()
    until(lambda: over(submitted))
    assert submitted.state == State.COMPLETED, submitted.reason
    data = submitted.data_set
    assert data is not None and data.problem_count == PROBLEMS
    assert data.columns["solution"] == "response"
    assert all(row["response"] for row in results.flat(submitted))

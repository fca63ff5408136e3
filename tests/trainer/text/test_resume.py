"""An interrupted and resumed run gives the numbers of an uninterrupted one, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer.text.tiny_run import end, events, final_hash, live, numbers, spec, start
from trainer.engine.loop import Runtime
from trainer.spec import RunSpec, load
from trainer.text import run

CASES = {
    "two_stages": {},
    "refreshed_pool": {
        "data": {
            "retained": {"kind": "arithmetic", "families": ["word"], "levels": [1], "count": 4}
        },
        "pool": {
            "refresh": "every",
            "refresh_every": 3,
            "weighting": {"kind": "paced", "floor": 0.05},
        },
    },
}


Finished = tuple[RunSpec, Path]


def carried_out(case: str, factory: pytest.TempPathFactory) -> Finished:
    definition, folder = spec(**CASES[case]), factory.mktemp(case)
    assert start(definition, folder) == 0
    return definition, folder


@pytest.fixture(scope="module", params=list(CASES))
def finished_of_each_kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    return carried_out(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return carried_out("two_stages", tmp_path_factory)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the run to stop once that many steps are done."""
    original = Runtime.metrics

    def metrics(self: Runtime, values: dict[str, float]) -> None:
        original(self, values)
        if self.step == step and "loss" in values:
            self.request_stop("asked in the test")

    monkeypatch.setattr(Runtime, "metrics", metrics)


def test_stopping_twice_and_resuming_changes_no_number(
    finished_of_each_kind: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition, uninterrupted = finished_of_each_kind
    stop_after(2, monkeypatch)
    assert start(definition, tmp_path) == 75
    monkeypatch.undo()
    stop_after(7, monkeypatch)
    assert run.resume(tmp_path) == 75
    monkeypatch.undo()
    assert run.resume(tmp_path) == 0
    assert numbers(tmp_path) == numbers(uninterrupted)
    assert final_hash(tmp_path) == final_hash(uninterrupted)
    assert [end(tmp_path, attempt)["outcome"] for attempt in (1, 2, 3)] == [
        "stopped",
        "stopped",
        "completed",
    ]
    firsts = [events(tmp_path, attempt=attempt)[0] for attempt in (2, 3)]
    assert [(first["type"], first["step"]) for first in firsts] == [("rewind", 2), ("rewind", 7)]


def copy_of(finished: Finished, folder: Path) -> Path:
    """Copy the finished run to a folder and return the folder of the copied checkpoints."""
    shutil.copytree(finished[1], folder, dirs_exist_ok=True)
    return folder / "attempts" / "1" / "checkpoints"


def test_a_killed_run_resumes_from_its_last_checkpoint_and_drops_later_steps(
    finished: Finished, tmp_path: Path
) -> None:
    checkpoints = copy_of(finished, tmp_path)
    shutil.rmtree(checkpoints / "step-00000008")
    assert run.resume(tmp_path) == 0
    assert events(tmp_path, "rewind", attempt=2)[0]["step"] == 6
    assert numbers(tmp_path) == numbers(finished[1])
    assert final_hash(tmp_path) == final_hash(finished[1])


def test_a_damaged_checkpoint_is_skipped_with_a_warning(finished: Finished, tmp_path: Path) -> None:
    checkpoints = copy_of(finished, tmp_path)
    with (checkpoints / "step-00000008" / "student.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    assert run.resume(tmp_path) == 0
    warnings = [
        event["message"]
        for event in events(tmp_path, "log", attempt=2)
        if event["level"] == "warning"
    ]
    assert "step-00000008 of attempt 1 is skipped" in warnings[0]
    assert final_hash(tmp_path) == final_hash(finished[1])


def test_a_run_resumes_from_a_chosen_checkpoint(finished: Finished, tmp_path: Path) -> None:
    checkpoints = copy_of(finished, tmp_path)
    assert run.resume(tmp_path, attempt=5, checkpoint=checkpoints / "step-00000006") == 0
    assert events(tmp_path, "rewind", attempt=5)[0]["step"] == 6
    assert final_hash(tmp_path) == final_hash(finished[1])


def test_a_run_without_a_checkpoint_starts_again(finished: Finished, tmp_path: Path) -> None:
    shutil.rmtree(copy_of(finished, tmp_path))
    assert run.resume(tmp_path) == 0
    assert events(tmp_path, "rewind", attempt=2)[0]["step"] == -1
    assert numbers(tmp_path) == numbers(finished[1])
    assert (
        len(
            [
                event
                for event in live(tmp_path)
                if event["type"] == "evaluation" and event["when"] == "before"
            ]
        )
        == 1
    )


def test_sigterm_stops_the_run_after_a_checkpoint(tmp_path: Path) -> None:
    definition = spec(
        stages=[{"name": "long", "until": {"steps": 100_000}}],
        evaluation={"every": 0},
        checkpoints={"every": 0},
    )
    (tmp_path / "definition.json").write_text(definition.model_dump_json())
    command = [
        sys.executable,
        "-m",
        "trainer",
        "run",
        str(tmp_path / "definition.json"),
        "--dir",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while (
        not [event for event in events(tmp_path, "metrics") if event["step"] >= 2]
        and process.poll() is None
    ):
        time.sleep(0.05)
    while process.poll() is None:  # however often it is asked
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.returncode in (75, -signal.SIGTERM)  # the last one may come when all is said
    saved = events(tmp_path, "checkpoint")[-1]["step"]
    assert saved == max(event["step"] for event in events(tmp_path, "metrics"))
    assert end(tmp_path)["outcome"] == "stopped"
    assert load((tmp_path / "spec.json").read_text()) == definition

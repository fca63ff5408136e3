"""A worker makes preflights with the real trainer, in a process that can be killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.spec import load
from webapp.access.models import Team
from webapp.library import artifacts
from webapp.library.models import DataSet
from webapp.preflights import preflights as requests
from webapp.preflights.models import Preflight
from workers import preflights, tasks

SPEC: dict[str, Any] = {
    "stages": [{"name": "one", "until": {"steps": 1}}],
    "data": {"train": {"kind": "arithmetic", "count": 40, "levels": [1]}},
}
ROWS = '{"question": "1+1=", "answer": "2"}\n{"question": "1’1=", "answer": "2"}\n'


@pytest.fixture
def team(transactional_db: None, settings: Any, tmp_path: Path) -> Team:
    settings.STILLROOM_STATE = tmp_path / "state"
    folder = {"OPTIONS": {"location": tmp_path / "store"}}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {**settings.STORAGES["artifacts"], **folder},
    }
    return Team.objects.create(name="Cellar", slug="cellar")


@pytest.fixture
def data_set(team: Team, tmp_path: Path) -> DataSet:
    file = tmp_path / "problems.jsonl"
    file.write_text(ROWS, encoding="utf-8")
    return DataSet.objects.create(
        team=team,
        name="sums",
        artifact=artifacts.put(file, team),
        fingerprint="f1",
        filename="sums of ours.jsonl",
        format="jsonl",
        problem_count=2,
    )


def asked(team: Team, **data: Any) -> Preflight:
    return requests.request(team, load({**SPEC, "data": {**SPEC["data"], **data}}))


def answer(preflight: Preflight) -> dict[str, Any]:
    preflight.refresh_from_db()
    assert preflight.report is not None
    return dict(preflight.report)


def test_waiting_definitions_are_checked_by_the_trainer(team: Team, data_set: DataSet) -> None:
    right = asked(team)
    evaluation = {"kind": "file", "path": "dataset:sums@f1"}
    wrong = asked(team, evaluation=evaluation)
    preflights.run_waiting()
    assert (answer(right)["refused"], answer(right)["complete"]) == (False, True)
    refused = [each for each in answer(wrong)["findings"] if each["severity"] == "refused"]
    assert refused[0]["path"] == "networks.student.model"
    assert "’ (U+2019), which 1 of the 2 held-out problems holds" in refused[0]["sentence"]
    assert not list((preflights._home()).glob("*-*"))


def test_sentences_name_files_as_their_owner_does(team: Team, data_set: DataSet) -> None:
    train = {"kind": "file", "path": "dataset:sums@f1", "columns": {"answer": "reply"}}
    preflight = asked(team, train=train)
    preflights.run_waiting()
    [finding] = [each for each in answer(preflight)["findings"] if each["severity"] == "refused"]
    assert "sums of ours.jsonl" in finding["sentence"]
    assert data_set.artifact.sha256 not in finding["sentence"]
    assert str(artifacts.local_path(data_set.artifact.sha256)) not in finding["sentence"]


def test_a_name_that_means_nothing_here_is_refused(team: Team) -> None:
    preflight = asked(team, train={"kind": "file", "path": "dataset:none@0"})
    preflights.run_waiting()
    assert answer(preflight)["refused"]
    assert "names a data set that the team does not have" in str(answer(preflight)["findings"])


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        ([sys.executable, "-c", "print('it is broken')"], "without an answer (it is broken)"),
        ([sys.executable, "-c", "import time; time.sleep(600)"], "did not end within"),
        (["/there/is/no/trainer"], "ended without an answer"),
    ],
)
def test_a_trainer_that_gives_no_answer_is_not_waited_for(
    team: Team,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    trainer: list[str],
    sentence: str,
) -> None:
    settings.STILLROOM_PREFLIGHT_SECONDS = 1
    monkeypatch.setattr(preflights, "MARGIN_SECONDS", 2.0)
    monkeypatch.setattr("workers.machine.host.trainer_command", lambda: trainer)
    preflight = asked(team)
    preflights.run_waiting()
    assert (answer(preflight)["complete"], answer(preflight)["refused"]) == (False, False)
    assert sentence in answer(preflight)["findings"][0]["sentence"]


@pytest.fixture
def _processes_of_the_test(
    child_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Let a runner inherit the test's database and folders; it is dead after the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setenv("STILLROOM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("STILLROOM_ARTIFACTS", str(tmp_path / "store"))
    yield
    for child in psutil.Process().children():
        if "preflight" in child.cmdline():
            child.kill()
            child.wait()


@pytest.mark.usefixtures("_processes_of_the_test")
def test_the_task_starts_a_runner_that_outlives_it(team: Team) -> None:
    tasks.start_preflights()
    assert not (preflights._home() / "runner-0.lock").exists()
    preflight = asked(team)
    tasks.start_preflights()
    while Preflight.objects.get(pk=preflight.pk).report is None:
        time.sleep(0.1)
    assert answer(preflight)["complete"]

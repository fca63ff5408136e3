"""A worker trains the base students that runs of an experiment wait for, and queues these runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.spec import load, to_dict
from webapp.access.models import Team
from webapp.experiments import bases as requests
from webapp.experiments import lifecycle, reproduction
from webapp.experiments.models import BaseStudent, Experiment
from webapp.library.models import DataSet, StoredModel
from webapp.nodes.models import Node
from webapp.runs.models import Run
from workers import bases
from workers.attempt.preparation import resolve
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import host

# In place of a training of minutes: the built-in student with two problems beside it.
COPIES = """
import json, shutil, sys
from pathlib import Path
from trainer.text import builtin
name, seed, folder = sys.argv[2], sys.argv[4], Path(sys.argv[6])
target = folder / "bases" / f"{name}-{seed}"
shutil.copytree(Path(builtin.__file__).parent / "student", target)
rows = [{"id": str(n), "question": f"{n}+1=", "answer": str(n + 1), "solution": f"{n + 1}",
         "domain": "add", "difficulty": "1"} for n in range(2)]
(target / "problems.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
"""


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
def experiment(team: Team) -> Experiment:
    return reproduction.launch(team, None, "tip", [5])


def use_trainer(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    command = [sys.executable, "-c", program]
    monkeypatch.setattr("workers.machine.host.trainer_command", lambda: command)


def test_a_base_becomes_a_model_and_a_data_set_of_the_team_and_its_runs_are_queued(
    team: Team, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_trainer(monkeypatch, COPIES)
    bases.run_waiting()
    model, data = StoredModel.objects.get(), DataSet.objects.get()
    assert (model.name, data.name, data.problem_count) == (
        "base-misreading-5",
        "base-misreading-problems",
        2,
    )
    assert Run.objects.count() == 6
    for run in Run.objects.all():
        assert run.spec is not None
        assert run.spec["networks"]["student"]["model"] == f"model:{model.name}@{model.hash}"
        assert run.spec["data"]["train"]["path"] == f"dataset:{data.name}@{data.fingerprint}"
    # Every host can open what the runs name.
    resolved = resolve(to_dict(load(run.spec or {})), team)
    for location in (resolved["networks"]["student"]["model"], resolved["data"]["train"]["path"]):
        assert Path(location.removeprefix("file:")).exists()
    assert not list(bases._home().glob("[0-9]*"))


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit('the disk is full')", "ended early: the disk is full"),
        (COPIES.replace("shutil.copytree", "(lambda a, b: b.mkdir(parents=True))"), "not a model"),
        (COPIES.replace('"answer"', '"reply"'), "could not be stored"),
    ],
)
def test_a_base_that_cannot_be_made_fails_its_runs_with_the_reason(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, program: str, sentence: str
) -> None:
    use_trainer(monkeypatch, program)
    bases.run_waiting()
    assert sentence in BaseStudent.objects.get().problem
    assert {cell.state for cell in experiment.runs.all()} == {"failed"}
    assert not list(bases._home().glob("[0-9]*"))


def test_a_training_that_nobody_waits_for_any_more_is_ended(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_trainer(monkeypatch, "import time; time.sleep(600)")
    base = requests.claim_next()
    assert base is not None
    lifecycle.stop(experiment, None)
    bases.train(base)
    base.refresh_from_db()
    assert base.heartbeat_at is None and not base.problem
    assert not list(bases._home().glob("[0-9]*")) and not Run.objects.exists()


def test_a_machine_that_is_drained_trains_none(experiment: Experiment) -> None:
    Node.objects.create(name=host.name(), address="", cpus=1, memory_bytes=1, draining=True)
    bases.start_runner()
    bases.run_waiting()
    assert not bases._home().exists() and BaseStudent.objects.get().claim == 0


def test_the_training_of_a_runner_that_died_is_continued(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = requests.claim_next()
    assert base is not None
    use_trainer(monkeypatch, COPIES)
    folder = bases._home() / str(base.pk)
    TrainerProcess(folder).start(["base", base.name, "--seed", "5", "--dir", str(folder)])
    requests.release(base)
    # A second training would fail: the folder of the base is there.
    bases.run_waiting()
    assert Run.objects.count() == 6 and not BaseStudent.objects.get().problem

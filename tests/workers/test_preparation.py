"""Names in a definition become paths on this host, but only of what the team may read."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import trainer.spec
from webapp.access.models import Team
from webapp.library import artifacts
from webapp.library.models import DataSet, StoredModel
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Run
from workers.attempt.preparation import PreparationError, prepare, trainer_environment
from workers.attempt.trainer_process import TrainerProcess

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="Cellar", slug="cellar")


@pytest.fixture
def data_set(team: Team, tmp_path: Path) -> DataSet:
    file = tmp_path / "problems.jsonl"
    file.write_text('{"question": "1+1", "answer": "2"}\n')
    artifact = artifacts.put(file, team)
    return DataSet.objects.create(
        team=team,
        name="sums",
        artifact=artifact,
        fingerprint="f1",
        filename=file.name,
        format="jsonl",
        problem_count=1,
    )


def spec(**data: Any) -> dict[str, Any]:
    return {"stages": [{"name": "one"}], "data": data}


def run_of(team: Team, definition: dict[str, Any]) -> tuple[Run, Attempt]:
    run = lifecycle.create_run(team, None, definition)
    attempt = leases.claim(run.pk, "host")
    assert attempt is not None
    return run, attempt


def resolved_definition(team: Team, definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition that the trainer reads."""
    run, attempt = run_of(team, trainer.spec.to_dict(trainer.spec.load(definition)))
    arguments = prepare(run, attempt)
    assert arguments[0] == "run"
    resolved: dict[str, Any] = json.loads(Path(arguments[1]).read_text())
    return resolved


def test_a_data_set_becomes_the_path_of_its_file(team: Team, data_set: DataSet) -> None:
    train = resolved_definition(team, spec(train={"kind": "file", "path": "dataset:sums@f1"}))[
        "data"
    ]["train"]
    assert Path(train["path"].removeprefix("file:")).read_text().startswith('{"question"')
    assert train["format"] == "jsonl"


def test_another_teams_data_set_is_not_found(data_set: DataSet) -> None:
    other_team = Team.objects.create(name="Other", slug="other")
    with pytest.raises(
        PreparationError, match=r"data\.train\.path \(dataset:sums@f1\) names a data set"
    ):
        resolved_definition(other_team, spec(train={"kind": "file", "path": "dataset:sums@f1"}))


def test_a_stored_model_becomes_a_folder_with_its_own_file_names(
    team: Team, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    digest = artifacts.put(config, team).sha256
    StoredModel.objects.create(team=team, name="mine", hash="h1", manifest={"config.json": digest})
    definition = spec() | {"networks": {"student": {"model": "model:mine@h1"}}}
    student = resolved_definition(team, definition)["networks"]["student"]["model"]
    assert (Path(student.removeprefix("file:")) / "config.json").read_text() == "{}"


@pytest.mark.parametrize("path", ["/etc/passwd", "{root}/../secret.jsonl", "{root}/link"])
def test_a_path_outside_the_operators_folders_is_rejected(
    team: Team, tmp_path: Path, settings: Any, path: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.jsonl").write_text("{}")
    (root / "link").symlink_to(tmp_path / "secret.jsonl")
    settings.STILLROOM_FILE_ROOTS = (root,)
    with pytest.raises(PreparationError, match="is nothing that this server may read"):
        resolved_definition(
            team, spec(train={"kind": "file", "path": f"file:{path.format(root=root)}"})
        )


def test_a_path_under_an_operators_folder_is_used(
    team: Team, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_FILE_ROOTS = (tmp_path,)
    (tmp_path / "x.csv").write_text("question,answer\n1,1\n")
    train = resolved_definition(
        team, spec(train={"kind": "file", "path": f"file:{tmp_path}/x.csv"})
    )["data"]["train"]
    assert train["path"] == f"file:{tmp_path.resolve()}/x.csv"


def test_an_invalid_definition_is_rejected_with_the_field(team: Team) -> None:
    run, attempt = run_of(team, {"stages": []} | {"networks": {}, "data": {}})
    with pytest.raises(PreparationError, match="stages"):
        prepare(run, attempt)


def test_a_later_attempt_resumes(team: Team) -> None:
    definition = trainer.spec.to_dict(trainer.spec.load(spec()))
    run, attempt = run_of(team, definition)
    attempt.number = 2
    assert prepare(run, attempt) == [
        "resume",
        str(Path(prepare(run, attempt)[1])),
        "--attempt",
        "2",
    ]


def test_a_teachers_location_is_resolved_for_each_kind(team: Team, data_set: DataSet) -> None:
    stage = {"name": "one", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    definition = {
        "stages": [stage],
        "networks": {"teacher": {"kind": "texts", "path": "dataset:sums@f1"}},
    }
    teacher = resolved_definition(team, definition)["networks"]["teacher"]
    assert Path(teacher["path"].removeprefix("file:")).read_text().startswith('{"question"')
    context = {"kind": "privileged", "shows": "answer"}
    itself = {
        "stages": [{"name": "one"}],
        "networks": {"teacher": {"kind": "self", "context": context}},
    }
    assert resolved_definition(team, itself)["networks"]["teacher"]["kind"] == "self"


def test_another_teams_secret_is_rejected(team: Team, settings: Any) -> None:
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5/v1",)
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG_MODEL": frozenset({"other"})}
    teacher = {
        "kind": "endpoint",
        "url": "http://10.0.0.5/v1",
        "model": "large",
        "key": "secret:big-model",
    }
    stage = {"name": "one", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    definition = {"stages": [stage], "networks": {"teacher": teacher}}
    with pytest.raises(PreparationError, match=r"networks\.teacher\.key is no secret of this team"):
        resolved_definition(team, definition)
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG_MODEL": frozenset({team.slug})}
    assert resolved_definition(team, definition)["networks"]["teacher"]["key"] == "secret:big-model"


def test_a_trainer_gets_the_secret_that_its_definition_names_and_no_other(
    team: Team, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name in another field, such as that of the run, gives none."""
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5/v1",)
    for name in ("STILLROOM_SECRET_BIG_MODEL", "STILLROOM_SECRET_HUB", "STILLROOM_METRICS_TOKEN"):
        monkeypatch.setenv(name, f"value of {name}")
    script = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[-1], 'w'))"
    monkeypatch.setenv("STILLROOM_TRAINER", shlex.join([sys.executable, "-c", script]))
    url = {"kind": "endpoint", "url": "http://10.0.0.5/v1", "model": "large"}
    stage = {"name": "one", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    seen = []
    for key in ({"key": "secret:big-model"}, {}):
        networks = {"teacher": {**url, **key}}
        definition = {"name": "secret:hub", "stages": [stage], "networks": networks}
        run, attempt = run_of(team, trainer.spec.to_dict(trainer.spec.load(definition)))
        process = TrainerProcess(tmp_path / run.public_id)
        process.start([str(tmp_path / "seen")], trainer_environment(run, attempt))
        while not process.ended():
            time.sleep(0.01)
        variables = json.loads((tmp_path / "seen").read_text())
        seen.append({name for name in variables if "SECRET" in name or "TOKEN" in name})
    assert seen[0] == seen[1] | {"STILLROOM_SECRET_BIG_MODEL"}
    assert not seen[1] & {"STILLROOM_SECRET_HUB", "STILLROOM_METRICS_TOKEN", "SECRET_KEY"}


def test_an_endpoint_that_the_operator_no_longer_lists_is_rejected(
    team: Team, settings: Any
) -> None:
    stage = {"name": "one", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}
    teacher = {"kind": "endpoint", "url": "http://10.0.0.5/v1", "model": "large"}
    definition = {"stages": [stage], "networks": {"teacher": teacher}}
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5",)
    assert (
        resolved_definition(team, definition)["networks"]["teacher"]["url"] == "http://10.0.0.5/v1"
    )
    settings.STILLROOM_ENDPOINTS = ()
    with pytest.raises(
        PreparationError, match=r"networks\.teacher\.url is no endpoint that this server may ask"
    ):
        resolved_definition(team, definition)


def test_a_served_teacher_is_resolved_and_its_servers_and_secret_are_checked(
    team: Team, settings: Any
) -> None:
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5", "http://10.0.0.6")
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG_MODEL": frozenset({team.slug})}
    teacher = {
        "kind": "served",
        "urls": ["http://10.0.0.5", "http://10.0.0.6"],
        "model": "large",
        "key": "secret:big-model",
        "tokenizer": "builtin:teacher",
        "gives": {"kind": "hidden_states", "head": "builtin:teacher"},
        "check": {"kind": "local", "model": "builtin:teacher"},
    }
    definition = {
        "stages": [{"name": "one"}],
        "networks": {"teacher": teacher, "specialists": [{"domains": ["law"], "teacher": teacher}]},
    }
    resolved = resolved_definition(team, definition)["networks"]["specialists"][0]["teacher"]
    assert resolved["urls"] == teacher["urls"]
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5",)
    with pytest.raises(PreparationError, match=r"networks\.teacher\.urls is no endpoint"):
        resolved_definition(team, definition)
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5", "http://10.0.0.6")
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG_MODEL": frozenset({"other"})}
    with pytest.raises(PreparationError, match=r"networks\.teacher\.key is no secret of this team"):
        resolved_definition(team, definition)


def test_a_trainer_gets_the_secret_of_a_specialist(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_LAWYER", "value")
    served = {
        "kind": "served",
        "urls": ["http://10.0.0.5"],
        "model": "large",
        "tokenizer": "builtin:teacher",
        "gives": {"kind": "hidden_states", "head": "builtin:teacher"},
        "key": "secret:lawyer",
    }
    networks = {"specialists": [{"domains": ["law"], "teacher": served}]}
    definition = {"stages": [{"name": "one"}], "networks": networks}
    run, attempt = run_of(team, trainer.spec.to_dict(trainer.spec.load(definition)))
    assert trainer_environment(run, attempt)["STILLROOM_SECRET_LAWYER"] == "value"

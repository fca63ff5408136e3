"""Single runs of an experiment: their definitions, and when they are executed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from trainer import recipes
from trainer.events import EventLog
from trainer.experiments.arms import execute
from trainer.experiments.definition import load
from trainer.spec.changes import apply_changes


def test_paceds_arms_differ_in_the_problem_weights_alone(tmp_path: Path) -> None:
    experiment = load("paced")
    definitions = [experiment.definition(arm, 3, tmp_path) for arm in experiment.arms]
    for definition in definitions:
        assert definition["pool"].pop("weighting") and definition.pop("name")
    assert all(definition == definitions[0] for definition in definitions)


def test_a_change_of_something_that_does_not_exist_is_refused() -> None:
    sample = recipes.load("paced").spec("sample").model_dump(mode="json")
    with pytest.raises(ValueError, match="alhpa"):
        apply_changes(sample, {"pool.weighting.alhpa": 2})


def test_a_run_that_has_completed_is_not_run_again(tmp_path: Path) -> None:
    with closing(EventLog(tmp_path / "run" / "attempts" / "1" / "events", attempt=1)) as log:
        log.emit("end", outcome="completed", reason="All steps are done.", remedy="")
    assert [event["type"] for event in execute({}, tmp_path / "run")] == ["end"]


def test_a_run_that_fails_says_where(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="run ended with code 64"):
        execute({"no": "definition"}, tmp_path / "run")

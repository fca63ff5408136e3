"""The comparison on the sample run: arms differ only in the weights."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from trainer import recipes
from trainer.events import EventLog
from trainer.experiments.arms import apply_changes, execute
from trainer.experiments.paced_sample import ARMS, definition
from trainer.experiments.paced_sample_report import GROUPS, changes, figure, table

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "paced-sample" / "results.json"


def results() -> list[dict[str, Any]]:
    path: list[dict[str, Any]] = json.loads(RESULTS.read_text())
    return path


def test_the_arms_differ_in_the_problem_weights_alone() -> None:
    definitions = [definition(arm, seed=3) for arm in ARMS]
    for arm_definition in definitions:
        assert arm_definition["pool"].pop("weighting") and arm_definition.pop("name")
    assert definitions[0] == definitions[1] == definitions[2]


def test_the_paced_arm_trains_as_the_sample_run_does() -> None:
    sample = recipes.load("paced").spec("sample").model_dump(mode="json")
    arm = definition("paced", seed=0)
    assert [arm[section] for section in ("networks", "data", "stages")] == [
        sample[section] for section in ("networks", "data", "stages")
    ]


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


def test_the_table_gives_every_measured_difference_of_every_group() -> None:
    rows = changes(results())
    assert {(row.group, row.arm, row.seed) for row in rows} == set(product(GROUPS, ARMS, (0, 1, 2)))
    text = table(rows)
    assert all(f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" in text for row in rows)


def test_the_figure_marks_every_difference_inside_its_frame() -> None:
    rows = changes(results())
    drawing = ElementTree.fromstring(figure(rows))
    dots = drawing.findall("{*}g/{*}circle")
    assert len(dots) == len(rows)
    assert all(170 <= float(dot.attrib["cx"]) <= 730 for dot in dots)


def test_the_results_are_of_the_whole_run_and_of_a_thousand_held_out_problems() -> None:
    steps = recipes.load("paced").spec("sample").total_steps
    for run in results():
        [after] = [
            event
            for event in run["evaluations"]
            if event["when"] == "after" and event["role"] == "evaluation"
        ]
        assert after["step"] == steps and after["problems"] >= 1000


def test_paced_meets_the_bar_with_every_seed() -> None:
    reached = [
        row.low
        for row in changes(results())
        if (row.arm, row.group) == ("paced", "mastered or frontier")
    ]
    assert len(reached) == 3 and min(reached) > 0.03

"""Experiments as data: every arm can run, and arms differ only in the settings that they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trainer import recipes
from trainer.experiments.bases import BASES
from trainer.experiments.cpu_time import BASE_CPU_MINUTES
from trainer.experiments.definition import Contrast, Experiment, load, names

SMALL: dict[str, Any] = {
    "name": "small",
    "recipe": "paced",
    "title": "Small",
    "about": "",
    "searched": "",
    "preset": "sample",
    "seeds": [0, 1],
    "cpu_minutes": 1.5,
    "arms": {
        "a": {"title": "A"},
        "b": {"title": "B", "changes": {"pool.weighting": {"kind": "uniform"}}},
    },
    "claims": [
        {
            "says": "A is better.",
            "of": {"arm": "a", "metric": "m"},
            "minus": {"arm": "b", "metric": "m"},
            "interest": 0.1,
        }
    ],
    "watched": ["m"],
    "curve": "m",
}


@pytest.mark.parametrize("name", names())
def test_every_arm_with_every_seed_can_run(name: str, tmp_path: Path) -> None:
    experiment = load(name)
    assert experiment.recipe in recipes.names() and set(experiment.bases) <= BASES.keys()
    assert set(experiment.bases) <= BASE_CPU_MINUTES.keys()
    definitions = [
        experiment.definition(arm, seed, tmp_path)
        for arm in experiment.arms
        for seed in experiment.seeds
    ]
    assert len({str(definition) for definition in definitions}) == len(definitions)


@pytest.mark.parametrize("name", names())
def test_fresh_seeds_are_not_those_of_the_search(name: str) -> None:
    assert all(seed < 100 for seed in load(name).seeds)


def test_a_base_becomes_a_folder_of_the_runs_seed(tmp_path: Path) -> None:
    with_base = SMALL | {"changes": {"networks.student.model": "base:student"}}
    experiment = Experiment.model_validate(with_base)
    assert experiment.bases == ["student"]
    for arm, seed in (("a", 0), ("b", 0), ("a", 100)):
        definition = experiment.definition(arm, seed, tmp_path)
        assert definition["networks"]["student"]["model"] == f"file:{tmp_path}/student-{seed}"


def test_a_file_of_a_base_is_in_the_folder_of_the_runs_seed(tmp_path: Path) -> None:
    train = load("tip").definition("all", 7, tmp_path)["data"]["train"]
    assert train["path"] == f"file:{tmp_path}/misreading-7/problems.jsonl"
    assert load("tip").base_files("misreading") == ["problems.jsonl"]
    assert load("paced").base_files("student") == []


def contrast(**fields: Any) -> Contrast:
    sides = {"of": {"arm": "a", "metric": "m"}, "minus": {"arm": "b", "metric": "m"}}
    return Contrast.model_validate({"says": "A is better.", **sides, **fields})


def test_the_bound_says_what_a_contrast_claims() -> None:
    assert contrast(interest=0.1).kind == "higher"
    assert contrast(above=0.03, interest=0.1).kind == "higher"
    assert contrast(above=-0.03).kind == "no worse"
    assert contrast(within=0.03).kind == "equal"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "needs interest"),
        ({"above": 0.03}, "needs interest"),
        ({"above": -0.03, "within": 0.03}, "has two bounds"),
        ({"within": -0.03}, "greater than 0"),
        ({"interest": 0.1, "each_seed": "interval"}, "has to be the change of one metric"),
        ({"above": -0.1, "each_seed": "interval", "of": 0.5}, "has to be the change of one metric"),
    ],
)
def test_a_contrast_without_a_clear_claim_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        contrast(**fields)


def test_what_each_seed_must_show_is_a_change_of_one_arm() -> None:
    before = {"arm": "a", "metric": "m", "when": "before"}
    assert contrast(minus=before, above=-0.03, each_seed="difference").each_seed == "difference"
    for wrong in ({**before, "arm": "b"}, {**before, "metric": "n"}):
        with pytest.raises(ValidationError, match="the same arm and metric"):
            contrast(minus=wrong, above=-0.03, each_seed="difference")


def test_a_seed_goes_where_the_experiment_says(tmp_path: Path) -> None:
    experiment = Experiment.model_validate(SMALL | {"seeded": ["seed", "data.train.seed"]})
    first, second = (experiment.definition("b", seed, tmp_path) for seed in (0, 7))
    assert (
        second["seed"],
        second["data"]["train"]["seed"],
        second["data"]["retained"]["seed"],
    ) == (
        7,
        7,
        0,
    )
    assert first["pool"]["weighting"]["kind"] == "uniform"


def test_a_contrast_of_an_unknown_arm_is_refused() -> None:
    claim = SMALL["claims"][0] | {"minus": {"arm": "c", "metric": "m"}}
    with pytest.raises(ValidationError, match="compares the unknown arm c; its arms are a, b"):
        Experiment.model_validate(SMALL | {"claims": [claim]})


def test_an_unknown_experiment_is_refused_with_the_known_names() -> None:
    with pytest.raises(KeyError, match=r"there is no experiment pased; there is .*paced"):
        load("pased")


def test_results_and_definitions_are_read_without_torch() -> None:
    program = (
        "import sys; from trainer.experiments import definition, results; "
        "definition.load('paced'); results('paced'); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )

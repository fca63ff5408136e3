"""Runs with recorded losses: only an intended change of the numerics changes these numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import numbers, spec, start
from trainer import recipes
from trainer.spec import RunSpec, load, to_dict

LOSSES = {
    1: 2.4548028,
    2: 2.3779243,
    3: 2.6411381,
    4: 2.4499884,
    5: 2.4151169,
    6: 2.6742872,
    7: 2.6992706,
    8: 2.5180060,
}


def test_the_losses_of_a_known_run_are_unchanged(tmp_path: Path) -> None:
    student = tiny.save_folder(tmp_path / "student", "qwen2", seed=0)
    teacher = tiny.save_folder(tmp_path / "teacher", "qwen2", seed=1)
    networks = {"student": {"model": f"file:{student}"}, "teacher": {"model": f"file:{teacher}"}}
    assert (
        start(
            spec(networks=networks, evaluation={"every": 0, "final_samples": 1, "pass_at": [1]}),
            tmp_path / "run",
        )
        == 0
    )
    result = {
        step: value for (step, key), value in numbers(tmp_path / "run").items() if key == "loss"
    }
    assert result == pytest.approx(LOSSES, rel=1e-3)


RECIPES = {
    "opsd": {1: 0.8317849, 2: 1.7459834, 3: 1.4406836},
    "tip": {1: 0.4841390, 2: 0.5783988, 3: 0.8759761},
    "caopd": {1: 0.1894832, 2: 0.3380886, 3: 1.0252719},
}


def cut(recipe: str) -> RunSpec:
    """Three steps of a recipe's small preset on a few problems."""
    definition = to_dict(recipes.load(recipe).spec("small"))
    definition["data"]["train"]["count"] = 40
    definition["evaluation"] |= {"every": 0, "final_samples": 1}
    definition["stages"][0] |= {"problems_per_step": 4, "until": {"steps": 3}}
    definition["stages"][0]["optimiser"]["warmup_steps"] = 0
    return load(definition)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_losses_of_each_recipe_are_unchanged(recipe: str, tmp_path: Path) -> None:
    assert start(cut(recipe), tmp_path) == 0
    result = {step: value for (step, key), value in numbers(tmp_path).items() if key == "loss"}
    assert result == pytest.approx(RECIPES[recipe], rel=1e-3)

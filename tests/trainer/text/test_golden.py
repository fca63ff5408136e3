"""A run whose numbers are known: a change that is meant to keep the numerics keeps them, and one that is not says so here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import numbers, spec, start

LOSSES = {1: 2.4548028, 2: 2.3779243, 3: 2.6411381, 4: 2.4499884, 5: 2.4151169, 6: 2.6742872, 7: 2.6992706, 8: 2.5180060}


def test_the_losses_of_a_known_run_are_the_same_as_ever(tmp_path: Path) -> None:
    student = tiny.save_folder(tmp_path / "student", "qwen2", seed=0)
    teacher = tiny.save_folder(tmp_path / "teacher", "qwen2", seed=1)
    networks = {"student": {"model": f"file:{student}"}, "teacher": {"model": f"file:{teacher}"}}
    assert start(spec(networks=networks, evaluation={"every": 0, "final_samples": 1, "pass_at": [1]}), tmp_path / "run") == 0
    found = {step: value for (step, key), value in numbers(tmp_path / "run").items() if key == "loss"}
    assert found == pytest.approx(LOSSES, rel=1e-3)

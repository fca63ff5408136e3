"""Two processes give the losses, weights and decisions of one, however the rows are divided."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.scale.rows import carry_out
from trainer.engine import checkpoints
from trainer.events import read

ROOT = Path(__file__).resolve().parents[3]
STEPS = 6


def in_two(folder: Path, parallel: str, dtype: str, checkpoint: Path | None = None) -> None:
    """Execute the method in two processes."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.trainer.scale.rows"]
    command += [
        str(folder),
        str(STEPS),
        parallel,
        dtype,
        *([str(checkpoint)] if checkpoint else []),
    ]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stderr


def saved(folder: Path, step: int) -> Path:
    return folder / "0" / "checkpoints" / checkpoints.folder_name(step)


def tensors(folder: Path) -> dict[str, Tensor]:
    """Weights, moments and moving averages of the last checkpoint."""
    sets = checkpoints.load(saved(folder, STEPS)).tensors
    return {
        f"{kind}/{name}": tensor for kind, group in sets.items() for name, tensor in group.items()
    }


def numbers(folder: Path, rank: int = 0) -> dict[tuple[int, str], float]:
    """Every metric that does not depend on the clock, by step and name."""
    names = ("loss", "grad_norm", "look", "live", "averaged")
    events: list[dict[str, Any]] = [
        event for event in read(folder / str(rank) / "events") if event["type"] == "metrics"
    ]
    return {
        (event["step"], key): value
        for event in events
        for key, value in event["values"].items()
        if key in names
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor], rtol: float = 1e-9) -> None:
    assert first.keys() == second.keys()
    for name, tensor in second.items():
        torch.testing.assert_close(first[name], tensor, rtol=rtol, atol=rtol / 100, msg=name)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    carry_out(folder, STEPS, "ddp", "float64")
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_resumes_from_two_with_the_same_numbers(
    tmp_path: Path, single: Path, parallel: str
) -> None:
    in_two(tmp_path / "two", parallel, "float64")
    same(tensors(tmp_path / "two"), tensors(single))
    expected = numbers(single)
    assert len(expected) == 3 * STEPS + 2 * 4
    assert numbers(tmp_path / "two") == pytest.approx(expected, rel=1e-9)
    assert numbers(tmp_path / "two", rank=1) == numbers(tmp_path / "two")
    assert not (tmp_path / "two" / "1" / "checkpoints").exists()
    carry_out(tmp_path / "one", STEPS, "ddp", "float64", saved(tmp_path / "two", 3))
    same(tensors(tmp_path / "one"), tensors(single))


def test_two_sharded_processes_resume_from_one_with_the_same_numbers(tmp_path: Path) -> None:
    carry_out(tmp_path / "one", STEPS, "ddp", "float32")
    in_two(tmp_path / "two", "fsdp", "float32", saved(tmp_path / "one", 3))
    same(tensors(tmp_path / "two"), tensors(tmp_path / "one"), rtol=1e-4)

"""Where runs and base students of experiments are stored in the folder that `--dir` names."""

from __future__ import annotations

from pathlib import Path


def bases_folder(folder: Path) -> Path:
    return folder / "bases"


def base_folder(bases: Path, name: str, seed: int) -> Path:
    """The base of that name that was made for `seed`."""
    return bases / f"{name}-{seed}"


def run_folder(folder: Path, experiment: str, arm: str, seed: int) -> Path:
    return folder / experiment / f"{arm}-{seed}"

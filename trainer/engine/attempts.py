"""The folders of a run's attempts."""

from __future__ import annotations

from pathlib import Path


def attempts(run_dir: Path) -> list[Path]:
    return [folder for folder in (run_dir / "attempts").glob("*") if folder.name.isdigit()]


def next_attempt(run_dir: Path) -> int:
    """The first number that no attempt has."""
    return 1 + max((int(folder.name) for folder in attempts(run_dir)), default=0)

"""The folders of a run's attempts."""

from __future__ import annotations

from pathlib import Path


def attempts(run_dir: Path) -> list[Path]:
    """Return the folders of the run's attempts, in no particular order."""
    return [folder for folder in (run_dir / "attempts").glob("*") if folder.name.isdigit()]


def next_attempt(run_dir: Path) -> int:
    """Return the number after that of the latest attempt."""
    return 1 + max((int(folder.name) for folder in attempts(run_dir)), default=0)

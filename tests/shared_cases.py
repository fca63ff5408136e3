"""Inputs beside the clone, each with a README that states the right result."""

from __future__ import annotations

from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def case(name: str) -> Path:
    """Return the folder of a case; skip the test where it is absent."""
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder

"""Inputs beside the clone, each with a README that states the right result."""

from __future__ import annotations

from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
needs_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason="the cases are beside the clone, not in it"
)


def case(name: str) -> Path:
    """Return the folder of a case."""
    return CASES / name

"""Experiments: arms × seeds over a common run definition, and the verdicts on their claims.

An experiment is data (`definitions/<name>.yaml`). `python -m trainer.experiments run NAME --dir
DIR` executes it, `… report NAME --dir DIR` writes its results to `docs/results/<name>/`.
Reading results needs no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def results(name: str) -> dict[str, Any] | None:
    """The content of `docs/results/<name>/results.json`; None if the experiment was not run."""
    path = RESULTS / name / "results.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content

"""Arms × seeds over a common run definition, and what they show.

An experiment is data (`definitions/<recipe>.yaml`). `python -m trainer.experiments run NAME --dir
DIR` carries it out, `… report NAME --dir DIR` writes what it showed to `docs/results/<name>/`.
Reading results needs no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def results(recipe: str) -> dict[str, Any] | None:
    """What the experiment of that recipe showed, as `docs/results/<recipe>/results.json` holds it;
    None where it has not been run.
    """
    written = RESULTS / recipe / "results.json"
    if not written.is_file():
        return None
    found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found

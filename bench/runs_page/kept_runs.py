"""The runs of earlier measurements: filling takes many minutes, and all measurements may share it.

The folder holds the database and, once it is filled, a file with the number of runs, the seed and
the seconds that it took.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench.runs_page import fill
from bench.runs_page.fill import Filled
from workers.launcher.services import account as accounts
from workers.launcher.services import folders

RECORD = "filled.json"


def folder(path: Path) -> Path:
    """Make the folder if it is missing; it belongs to the account that Postgres runs as.

    Raises LauncherError if it is somebody else's.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    folders.make_private(path, accounts.services_account())
    return path


def filled(folder: Path | None, runs: int, seed: int) -> tuple[Filled, int]:
    """Return what is in the tables, and the seconds that filling took; fill them if need be.

    Raises SystemExit if `folder` holds other runs, or some of which nothing says how many.
    """
    record = folder / RECORD if folder else None
    requested = {"runs": runs, "seed": seed}
    if record is None or not record.exists():
        seconds = _fill(runs, seed, folder)
        if record is not None:
            record.write_text(json.dumps({**requested, "seconds": seconds}) + "\n")
        return fill.filled(), seconds
    stored = json.loads(record.read_text())
    if {name: stored[name] for name in requested} != requested:
        raise SystemExit(
            f"{folder} holds {stored['runs']} runs of seed {stored['seed']}, not {runs} of seed "
            f"{seed}. Set STILLROOM_BENCH_RUNS={stored['runs']}, or name another folder."
        )
    return fill.filled(), int(stored["seconds"])


def _fill(runs: int, seed: int, folder: Path | None) -> int:
    from webapp.runs.models import Run

    if Run.objects.exists():
        raise SystemExit(
            f"Filling {folder} was interrupted. Delete the folder, or name another one."
        )
    began = time.monotonic()
    fill.fill(runs, seed)
    return round(time.monotonic() - began)

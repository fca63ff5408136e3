"""Bringing the checkpoint from which a run goes on to this host, whoever wrote it.

What is here already and has the stored hashes is taken as it is, the rest comes from the store.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

from webapp.ingest import files
from webapp.library.artifacts import Damaged
from webapp.runs.models import Checkpoint, Run

log = logging.getLogger(__name__)


def bring_newest(run: Run, folder: Path) -> Checkpoint | None:
    """The newest stored checkpoint of the run's live branch that is whole, now below the run's
    `folder`; None if there is none.
    """
    for stored in files.stored_checkpoints(run):
        try:
            bring(stored, folder)
        except (FileNotFoundError, Damaged) as problem:
            log.warning(
                "run %s cannot go on from step %d, trying an earlier one: %s",
                run.public_id,
                stored.step,
                problem,
            )
            continue
        return stored
    return None


def bring(stored: Checkpoint, folder: Path) -> None:
    """Have the checkpoint whole below the run's `folder`. Raises FileNotFoundError or Damaged if
    the store has it no longer.
    """
    place = place_of(stored, folder)
    if not _is_whole(stored, place):
        _fetch(stored, place)


def place_of(stored: Checkpoint, folder: Path) -> Path:
    return folder / "attempts" / str(stored.attempt) / "checkpoints" / Path(stored.folder).name


def _is_whole(stored: Checkpoint, place: Path) -> bool:
    return all(_digest(place / name) == facts["sha256"] for name, facts in stored.manifest.items())


def _fetch(stored: Checkpoint, place: Path) -> None:
    unfinished = place.with_name(f".incoming-{place.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    files.restore(stored, unfinished)
    shutil.rmtree(place, ignore_errors=True)
    unfinished.rename(place)


def _digest(path: Path) -> str:
    """Empty for a file that is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""

"""Fetches the checkpoint from which an attempt resumes to this host, whichever host wrote it.

A checkpoint that is already here and has the stored hashes is used as it is.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

from webapp.ingest import files
from webapp.library.artifacts import INCOMING, DamagedArtifact
from webapp.runs.models import Checkpoint, Run

log = logging.getLogger(__name__)


def fetch_newest(run: Run, run_folder: Path) -> Checkpoint | None:
    """Fetch the newest undamaged stored checkpoint of the run's live branch into `run_folder`.

    Returns None if there is none.
    """
    # Of supervisors that were killed here while they fetched one; an attempt has one supervisor.
    for unfinished in run_folder.glob(f"attempts/*/checkpoints/{INCOMING}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for checkpoint in files.stored_checkpoints(run):
        try:
            fetch(checkpoint, run_folder)
        except (FileNotFoundError, DamagedArtifact) as error:
            log.warning(
                "run %s cannot resume from step %d, trying an earlier checkpoint: %s",
                run.public_id,
                checkpoint.step,
                error,
            )
            continue
        return checkpoint
    return None


def fetch(checkpoint: Checkpoint, run_folder: Path) -> None:
    """Make the checkpoint complete below `run_folder`.

    Raises FileNotFoundError or DamagedArtifact if the artifact store does not have it any more.
    """
    folder = folder_of(checkpoint, run_folder)
    hashes = {name: facts["sha256"] for name, facts in checkpoint.manifest.items()}
    if all(_sha256(folder / name) == digest for name, digest in hashes.items()):
        return
    # Restored under another name, so that the folder is never there with a part of its files.
    unfinished = folder.with_name(f"{INCOMING}{folder.name}")
    # An earlier attempt on this host may have died while it restored the same checkpoint.
    shutil.rmtree(unfinished, ignore_errors=True)
    files.restore(checkpoint, unfinished)
    # A rename cannot replace a folder that has files in it.
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def folder_of(checkpoint: Checkpoint, run_folder: Path) -> Path:
    attempt_folder = run_folder / "attempts" / str(checkpoint.attempt)
    return attempt_folder / "checkpoints" / Path(checkpoint.folder).name


def _sha256(path: Path) -> str:
    """Return the file's hash; "" if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""

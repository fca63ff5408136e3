"""Copy the files that events name from an attempt's folder into the artifact store.

Side files are one artifact each; a checkpoint is stored file by file.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from webapp.access.models import Team
from webapp.base.outages import OUTAGES
from webapp.library import artifacts
from webapp.runs import branches
from webapp.runs.models import Checkpoint, Run

log = logging.getLogger(__name__)
# A petabyte: a larger size in a manifest is damage, and the sum of a checkpoint's sizes must fit
# its bigint column.
MAX_FILE_BYTES = 2**50
MANIFEST = "manifest.json"
PARQUET = "application/vnd.apache.parquet"
Manifest = dict[str, dict[str, Any]]


@dataclass
class StoredFiles:
    """The files of a batch that are in the store.

    `hashes` are those of side files; `checkpoints` maps the sequence number of an event to the
    manifest of its complete checkpoint.
    """

    hashes: set[str] = field(default_factory=set)
    checkpoints: dict[int, Manifest] = field(default_factory=dict)


def store(team: Team, batch: list[dict[str, Any]], folder: Path) -> StoredFiles:
    """Store every file that the batch names, and note failures in the events.

    A file that is missing or differs from its hash sets `trouble` in its event. One that the store
    does not take now sets `unstored` as well, and is tried again later. Raises OUTAGES.
    """
    stored_files = StoredFiles()
    for event in batch:
        # A log may come from anywhere, and may have fields of these names itself.
        for name in ("trouble", "unstored"):
            event.pop(name, None)
        try:
            if isinstance(event.get("file"), dict):
                stored_files.hashes.add(_side_file(team, event["file"], folder))
            elif event["type"] == "checkpoint":
                stored_files.checkpoints[event["seq"]] = _checkpoint(team, event, folder)
        except (MissingFile, KeyError, TypeError, ValueError) as problem:
            event["trouble"] = str(problem)
        except OUTAGES:
            raise
        # Disks and object stores raise errors of many classes; a full disk is the most likely one.
        except Exception as problem:
            event |= {
                "trouble": f"it could not be stored: {getattr(problem, 'strerror', '') or problem}",
                "unstored": True,
            }
    return stored_files


class MissingFile(Exception):
    """A file that an event names is missing or has changed; the message names it."""


def restore(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy a stored checkpoint into `folder`.

    Raises FileNotFoundError if the store has lost a file, DamagedArtifact if one has changed.
    """
    for name, facts in checkpoint.manifest.items():
        artifacts.fetch(checkpoint.run.team, facts["sha256"], folder / name)


def stored_checkpoints(run: Run) -> QuerySet[Checkpoint]:
    """Return the checkpoints of the live branch, the one that a resume would use first."""
    return run.checkpoints.filter(branches.on_live_branch(run)).order_by("-step", "-attempt")


def _side_file(team: Team, facts: dict[str, Any], folder: Path) -> str:
    sha256 = str(facts["sha256"])
    # A batch that is recorded again, or half of it, does not copy its files again.
    if not artifacts.holds(team, sha256):
        _put(team, folder / "side" / _plain_name(str(facts["name"])), sha256, PARQUET)
    return sha256


def _checkpoint(team: Team, event: dict[str, Any], folder: Path) -> Manifest:
    """Store the files of a checkpoint in the order of its manifest, and the manifest last."""
    checkpoint_folder = (
        folder / "checkpoints" / _plain_name(str(event["folder"]).removeprefix("checkpoints/"))
    )
    manifest = checkpoint_folder / MANIFEST
    try:
        content = manifest.read_bytes()
        listed = json.loads(content)["files"].items()
        expected = {
            _plain_name(name): {"sha256": str(facts["sha256"]), "size": _size(facts["size"])}
            for name, facts in listed
        }
    except OSError as problem:
        raise MissingFile(
            f"{checkpoint_folder.name} was gone before it could be stored, "
            "so the run cannot be resumed from it"
        ) from problem
    # A damaged manifest fails in any of these ways, depending on which bytes are wrong.
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as problem:
        raise MissingFile(
            f"{MANIFEST} of {checkpoint_folder.name} is damaged, "
            "so the run cannot be resumed from it"
        ) from problem
    files: Manifest = {
        **expected,
        MANIFEST: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
    }
    for name, facts in files.items():
        _put(team, checkpoint_folder / name, facts["sha256"], "application/octet-stream")
    return files


def _put(team: Team, path: Path, sha256: str, media_type: str) -> None:
    try:
        artifact = artifacts.put(path, team, media_type)
    except FileNotFoundError as problem:
        raise MissingFile(f"{path.name} is missing") from problem
    # What was stored is named by its own hash and used by nobody: `artifacts.collect` deletes it.
    if artifact.sha256 != sha256:
        raise MissingFile(f"{path.name} is not what was written: its hash differs")


def _size(value: Any) -> int:
    """Return a file size in bytes. Raises ValueError if no disk could hold it."""
    size = int(value)
    if not 0 <= size < MAX_FILE_BYTES:
        raise ValueError(f"{value!r} is no size of a file")
    return size


def _plain_name(name: str) -> str:
    """Return the name if it cannot lead out of its folder. Raises ValueError."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no plain file name")
    return name

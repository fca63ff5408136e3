"""Moving what events name from an attempt's folder into the artifact store: side files, and
checkpoints file by file.
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
LARGEST = 2**50
MANIFEST = "manifest.json"
PARQUET = "application/vnd.apache.parquet"
Manifest = dict[str, dict[str, Any]]


@dataclass
class Stored:
    """What of a batch is in the store: hashes of side files, and the manifest of each whole
    checkpoint by its event's number.
    """

    hashes: set[str] = field(default_factory=set)
    checkpoints: dict[int, Manifest] = field(default_factory=dict)

    def has(self, sha256: str) -> bool:
        return sha256 in self.hashes


def store(team: Team, batch: list[dict[str, Any]], folder: Path) -> Stored:
    """Store every file that the batch names. What is missing or differs from its hash is noted in
    its event as `trouble`.

    So is what the store does not take now; such an event is also marked as `unstored`, to be tried
    again. Raises OUTAGES.
    """
    stored = Stored()
    for event in batch:
        for name in ("trouble", "unstored"):
            event.pop(name, None)
        try:
            if isinstance(event.get("file"), dict):
                stored.hashes.add(_side_file(team, event["file"], folder))
            elif event["type"] == "checkpoint":
                stored.checkpoints[event["seq"]] = _checkpoint(team, event, folder)
        except (Missing, KeyError, TypeError, ValueError) as problem:
            event["trouble"] = str(problem)
        except OUTAGES:
            raise
        except Exception as problem:  # whatever a disk or a service of objects may say
            event |= {
                "trouble": f"it could not be stored: {getattr(problem, 'strerror', '') or problem}",
                "unstored": True,
            }
    return stored


class Missing(Exception):
    """A file that an event names is not there, or is not what it was; the message says which."""


def restore(checkpoint: Checkpoint, folder: Path) -> None:
    """Lay a stored checkpoint out in `folder`. Raises FileNotFoundError if the store has lost a
    file, artifacts.DamagedArtifact if it changed.
    """
    for name, facts in checkpoint.manifest.items():
        artifacts.fetch(checkpoint.run.team, facts["sha256"], folder / name)


def stored_checkpoints(run: Run) -> QuerySet[Checkpoint]:
    """Those that the run could be resumed from, the one that it would be first. An abandoned tail
    is no way on.
    """
    return run.checkpoints.filter(branches.on_live_branch(run)).order_by("-step", "-attempt")


def _side_file(team: Team, facts: dict[str, Any], folder: Path) -> str:
    sha256 = str(facts["sha256"])
    if not artifacts.holds(team, sha256):
        _put(team, folder / "side" / _plain(str(facts["name"])), sha256, PARQUET)
    return sha256


def _checkpoint(team: Team, event: dict[str, Any], folder: Path) -> Manifest:
    """Store the files of a checkpoint in the order of its manifest, which itself comes last."""
    place = folder / "checkpoints" / _plain(str(event["folder"]).removeprefix("checkpoints/"))
    manifest = place / MANIFEST
    try:
        content = manifest.read_bytes()
        listed = json.loads(content)["files"].items()
        expected = {
            _plain(name): {"sha256": str(facts["sha256"]), "size": _size(facts["size"])}
            for name, facts in listed
        }
    except OSError as problem:
        raise Missing(
            f"{place.name} was gone before it could be stored, so the run cannot be resumed from it"
        ) from problem
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as problem:
        raise Missing(
            f"{MANIFEST} of {place.name} is damaged, so the run cannot be resumed from it"
        ) from problem
    found: Manifest = {
        **expected,
        MANIFEST: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
    }
    for name, facts in found.items():
        _put(team, place / name, facts["sha256"], "application/octet-stream")
    return found


def _put(team: Team, path: Path, sha256: str, media_type: str) -> None:
    try:
        artifact = artifacts.put(path, team, media_type)
    except FileNotFoundError as problem:
        raise Missing(f"{path.name} is missing") from problem
    if artifact.sha256 != sha256:
        raise Missing(f"{path.name} is not what was written: its hash differs")


def _size(value: Any) -> int:
    """Bytes of a file, as many as a disk can have."""
    size = int(value)
    if not 0 <= size < LARGEST:
        raise ValueError(f"{value!r} is no size of a file")
    return size


def _plain(name: str) -> str:
    """A file name that cannot lead out of its folder."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no plain file name")
    return name

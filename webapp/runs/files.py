"""Moving what events name from an attempt's folder into the artifact store: side files, and checkpoints file by file."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webapp import artifacts
from webapp.runs.models import Checkpoint
from webapp.teams.models import Team

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
PARQUET = "application/vnd.apache.parquet"
Manifest = dict[str, dict[str, Any]]


@dataclass
class Stored:
    """What of a batch is in the store: hashes of side files, and the manifest of each whole checkpoint by its event's number."""

    hashes: set[str] = field(default_factory=set)
    checkpoints: dict[int, Manifest] = field(default_factory=dict)

    def has(self, sha256: str) -> bool:
        return sha256 in self.hashes


def store(team: Team, batch: list[dict[str, Any]], folder: Path) -> Stored:
    """Store every file that the batch names. What is missing or differs from its hash is noted in its event as `trouble`."""
    stored = Stored()
    for event in batch:
        try:
            if isinstance(event.get("file"), dict):
                stored.hashes.add(_side_file(team, event["file"], folder))
            elif event["type"] == "checkpoint":
                stored.checkpoints[event["seq"]] = _checkpoint(team, event, folder)
        except (Missing, KeyError, TypeError, ValueError) as problem:
            event["trouble"] = str(problem)
        except OSError as problem:
            event["trouble"] = f"it could not be stored: {problem.strerror or problem}"
    return stored


class Missing(Exception):
    """A file that an event names is not there, or is not what it was; the message says which."""


def restore(checkpoint: Checkpoint, folder: Path) -> None:
    """Lay a stored checkpoint out in `folder`. Raises FileNotFoundError if the store has lost a file."""
    for name, facts in checkpoint.manifest.items():
        artifacts.fetch(checkpoint.run.team, facts["sha256"], folder / name)


def latest_checkpoint(run_id: int) -> Checkpoint | None:
    """The one that the run would be resumed from."""
    return Checkpoint.objects.filter(run=run_id).order_by("-attempt", "-step").first()


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
        expected = {_plain(name): {"sha256": facts["sha256"], "size": facts["size"]} for name, facts in listed}
    except OSError as problem:
        raise Missing(f"{place.name} was gone before it could be stored, so the run cannot be resumed from it") from problem
    found: Manifest = {**expected, MANIFEST: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}
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


def _plain(name: str) -> str:
    """A file name that cannot lead out of its folder."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is no plain file name")
    return name

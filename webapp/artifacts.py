"""The store of files: data sets, models, checkpoints and rollout blocks, named by the SHA-256 of their content.

Bytes lie in the storage `artifacts` of the settings (a folder; S3 through the same interface). Who may read them is the business of
the `Artifact` row: each team holds its own, so that sharing bytes shares no access. Files are streamed, never held in memory whole.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from webapp.runs.models import Artifact
from webapp.teams.models import Team

CHUNK = 2**20


class AtomicFolder(FileSystemStorage):
    """A folder in which a file is there whole or not at all: written aside, flushed to the disk, then renamed."""

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".incoming-", delete=False) as part:
            try:
                for chunk in content.chunks(CHUNK):
                    part.write(chunk)
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, target)
            except BaseException:
                os.unlink(part.name)
                raise
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # the content names the file: writing it twice changes nothing


def put(source: Path | IO[bytes], team: Team, media_type: str = "application/octet-stream") -> Artifact:
    """Store the bytes of `source` (a path or a seekable binary stream) for `team`; the same content twice is one artifact."""
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return put(stream, team, media_type)
    sha256, size = _digest(source)
    if not _store().exists(_name(sha256)):
        source.seek(0)
        _store().save(_name(sha256), File(source))
    artifact, _ = Artifact.objects.get_or_create(team=team, sha256=sha256, defaults={"size": size, "media_type": media_type})
    return artifact


def open(team: Team, sha256: str) -> IO[bytes]:
    """A binary stream of what `team` stored. Raises FileNotFoundError if the team holds no such artifact."""
    if not Artifact.objects.filter(team=team, sha256=sha256).exists():
        raise FileNotFoundError(f"team {team.slug} holds no artifact {sha256}")
    return _store().open(_name(sha256), "rb")


def fetch(team: Team, sha256: str, target: Path) -> None:
    """Copy an artifact of `team` to the path `target`, whose folder is made. Raises FileNotFoundError as `open` does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(team, sha256) as source, tempfile.NamedTemporaryFile(dir=target.parent, prefix=".incoming-", delete=False) as part:
        while chunk := source.read(CHUNK):
            part.write(chunk)
    os.replace(part.name, target)


def path(team: Team, sha256: str) -> Path:
    """Where the bytes lie, for readers that need random access (Parquet). Raises FileNotFoundError as `open` does."""
    with open(team, sha256):
        return Path(_store().path(_name(sha256)))


def _store() -> Storage:
    return storages["artifacts"]


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _digest(source: IO[bytes]) -> tuple[str, int]:
    source.seek(0)
    found, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        found.update(chunk)
        size += len(chunk)
    return found.hexdigest(), size

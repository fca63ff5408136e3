"""The store of files: data sets, models, checkpoints and rollout blocks, named by the SHA-256 of
their content.

Bytes lie in the storage `artifacts` of the settings (a folder; S3 through the same interface). Who
may read them is the business of the `Artifact` row: each team holds its own, so that sharing bytes
shares no access. Files are streamed, never held in memory whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import connection, transaction
from django.utils import timezone

from webapp.access.models import Team
from webapp.library.models import Artifact

CHUNK = 2**20
COLLECTING = 0x5711100  # names the advisory lock between writers (shared) and `collect` (exclusive)


# Given a team's primary key, the hashes that one app's rows name. Every app with such rows registers
# its reader in `AppConfig.ready`: `collect` deletes what no reader names.
ReferenceReader = Callable[[int], set[str]]
_reference_readers: list[ReferenceReader] = []


def register_references(reader: ReferenceReader) -> None:
    if reader not in _reference_readers:
        _reference_readers.append(reader)


class DamagedArtifact(Exception):
    """The store holds other bytes than were put there; the message says of what."""


class AtomicFolder(FileSystemStorage):
    """A folder in which a file is there whole or not at all: written aside, flushed to the disk,
    then renamed.
    """

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=".incoming-", delete=False
        ) as part:
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


def check() -> None:
    """Write a file into the store and remove it again. Raises OSError if that cannot be done."""
    store = storages["artifacts"]
    name = store.save(f".check-{os.getpid()}-{secrets.token_hex(4)}", ContentFile(b"?"))
    store.delete(name)


def put(
    source: Path | IO[bytes], team: Team, media_type: str = "application/octet-stream"
) -> Artifact:
    """Store the bytes of `source` (a path or a seekable binary stream) for `team`; the same content
    twice is one artifact.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return put(stream, team, media_type)
    sha256, size = _digest(source)
    with (
        transaction.atomic()
    ):  # the fresh `stored_at` keeps `collect` away from bytes that are about to be named
        _lock("pg_advisory_xact_lock_shared")
        facts = {"size": size, "stored_at": timezone.now()}
        artifact, _ = Artifact.objects.update_or_create(
            team=team,
            sha256=sha256,
            defaults=facts,
            create_defaults={**facts, "media_type": media_type},
        )
        missing = not _store().exists(_name(sha256))
    if missing:
        source.seek(0)
        _store().save(_name(sha256), File(source))
    return artifact


def holds(team: Team, sha256: str) -> bool:
    """Whether `team` stored that content and all of it is there."""
    return Artifact.objects.filter(team=team, sha256=sha256).exists() and _store().exists(
        _name(sha256)
    )


def open(team: Team, sha256: str) -> IO[bytes]:
    """A binary stream of what `team` stored. Raises FileNotFoundError if the team holds no such
    artifact.
    """
    if not holds(team, sha256):
        raise FileNotFoundError(f"team {team.slug} holds no artifact {sha256}")
    return _store().open(_name(sha256), "rb")


def fetch(team: Team, sha256: str, target: Path) -> None:
    """Copy an artifact of `team` to the path `target`, whose folder is made. Raises DamagedArtifact, and
    FileNotFoundError as `open` does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = hashlib.sha256()
    with (
        open(team, sha256) as source,
        tempfile.NamedTemporaryFile(dir=target.parent, prefix=".incoming-", delete=False) as part,
    ):
        while chunk := source.read(CHUNK):
            copied.update(chunk)
            part.write(chunk)
    if copied.hexdigest() != sha256:
        os.unlink(part.name)
        raise DamagedArtifact(f"{target.name} in the store is not what was put there")
    os.replace(part.name, target)


def path(team: Team, sha256: str) -> Path:
    """Where an artifact of `team` lies, for readers that need random access (Parquet). Raises
    FileNotFoundError as `open` does.
    """
    with open(team, sha256):
        return local_path(sha256)


def local_path(sha256: str) -> Path:
    """Where the bytes lie, for readers that need a path. The caller has decided on access
    already.
    """
    return Path(_store().path(_name(sha256)))


def collect(grace: timedelta = timedelta(hours=1)) -> int:
    """Delete artifacts that nothing names and nobody stored within `grace`; return how many. Safe
    beside any number of writers.
    """
    old = Artifact.objects.filter(stored_at__lt=timezone.now() - grace)
    with transaction.atomic():
        _lock("pg_advisory_xact_lock")
        named = {team: _named(team) for team in set(old.values_list("team", flat=True))}
        unused = [artifact for artifact in old if artifact.sha256 not in named[artifact.team_id]]
        Artifact.objects.filter(pk__in=[artifact.pk for artifact in unused]).delete()
        gone = {artifact.sha256 for artifact in unused}
        for sha256 in gone - set(
            Artifact.objects.filter(sha256__in=gone).values_list("sha256", flat=True)
        ):
            _store().delete(_name(sha256))
    return len(unused)


def _store() -> Storage:
    return storages["artifacts"]


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _lock(kind: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {kind}(%s)", [COLLECTING])


def _named(team_id: int) -> set[str]:
    """Every hash that something of the team names, by all registered readers."""
    return set().union(*(reader(team_id) for reader in _reference_readers))


def _digest(source: IO[bytes]) -> tuple[str, int]:
    source.seek(0)
    found, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        found.update(chunk)
        size += len(chunk)
    return found.hexdigest(), size

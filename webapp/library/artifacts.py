"""The artifact store: data sets, models, checkpoints and rollout files by SHA-256 of their content.

The bytes are in the storage `artifacts` of the settings (a folder; S3 through the same interface).
The `Artifact` row decides who may read them: each team has its own row, so that sharing bytes gives
no access. Files are streamed, never read into memory as a whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import connection, transaction
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.library.models import Artifact

CHUNK_BYTES = 2**20
INCOMING = ".incoming-"
# Key of the advisory lock that writers share and `collect` takes alone.
LOCK_KEY = 0x5711100


# Returns the hashes that one app's rows name, for a team's primary key. Each app with such rows
# registers its reader in `AppConfig.ready`; `collect` deletes what no reader names.
ReferenceReader = Callable[[int], set[str]]
_reference_readers: list[ReferenceReader] = []


def register_references(reader: ReferenceReader) -> None:
    """Make `collect` keep what `reader` returns."""
    # Django may call `AppConfig.ready`, and so this, more than once in a process of tests.
    if reader not in _reference_readers:
        _reference_readers.append(reader)


class DamagedArtifact(Exception):
    """The bytes in the store have changed; the message names the file."""


class AtomicFolder(FileSystemStorage):
    """A folder in which a file is either complete or absent.

    It is written under a temporary name, flushed to the disk, then renamed.
    """

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with _incoming(target.parent) as incoming:
            for chunk in content.chunks(CHUNK_BYTES):
                incoming.write(chunk)
            incoming.flush()
            os.fsync(incoming.fileno())
            os.replace(incoming.name, target)
        return name

    def remove_leftovers(self) -> None:
        """Delete files whose writer was killed: the kernel has released their locks.

        Their age would tell less: somebody may set the clock, and a large file takes long.
        """
        for path in Path(self.location).glob(f"*/{INCOMING}*"):
            # Its writer may have renamed it meanwhile.
            with suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                path.unlink()

    # Django would choose another name for a file that exists. Here the content names the file, so
    # that writing it twice changes nothing.
    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


@contextmanager
def _incoming(folder: Path) -> Iterator[IO[bytes]]:
    """Open a new file under a temporary name, locked as long as this process writes it.

    The caller renames it; on an error it is deleted.
    """
    while True:
        incoming = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below
            dir=folder, prefix=INCOMING, delete=False
        )
        # A file system without locks, as some over the network, keeps what a killed process left.
        with suppress(OSError):
            fcntl.flock(incoming, fcntl.LOCK_SH)
        # `remove_leftovers` may have found it before it was locked.
        if os.path.exists(incoming.name):
            break
        incoming.close()
    with incoming:
        try:
            yield incoming
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(incoming.name)
            raise


def check() -> None:
    """Write a file into the store and delete it. Raises OSError if that fails."""
    store = storages["artifacts"]
    name = store.save(f".check-{os.getpid()}-{secrets.token_hex(4)}", ContentFile(b"?"))
    store.delete(name)


def put(
    source: Path | IO[bytes], team: Team, media_type: str = "application/octet-stream"
) -> Artifact:
    """Store the bytes of `source`, a path or a seekable binary stream, for `team`.

    The same content twice is one artifact.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return put(stream, team, media_type)
    sha256, size = _digest(source)
    # The new `stored_at` keeps `collect` from deleting bytes that a row is about to name.
    with transaction.atomic():
        _lock("pg_advisory_xact_lock_shared")
        facts = {"size": size, "stored_at": Now()}
        artifact, _ = Artifact.objects.update_or_create(
            team=team,
            sha256=sha256,
            defaults=facts,
            create_defaults={**facts, "media_type": media_type},
        )
        missing = not _store().exists(_name(sha256))
    # Outside the transaction: writing a large file takes minutes, and `collect` would wait for the
    # lock. If it fails the row stays, but `holds` is false until somebody stores the file again.
    if missing:
        source.seek(0)
        _store().save(_name(sha256), File(source))
    return artifact


def holds(team: Team, sha256: str) -> bool:
    """Return whether `team` stored that content and the file is present."""
    return Artifact.objects.filter(team=team, sha256=sha256).exists() and _store().exists(
        _name(sha256)
    )


def open(team: Team, sha256: str) -> IO[bytes]:
    """Open an artifact of `team` as a binary stream. Raises FileNotFoundError if it has none."""
    if not holds(team, sha256):
        raise FileNotFoundError(f"team {team.slug} holds no artifact {sha256}")
    return _store().open(_name(sha256), "rb")


def fetch(team: Team, sha256: str, target: Path) -> None:
    """Copy an artifact of `team` to the path `target` and create its folder.

    Raises DamagedArtifact if the bytes have changed, FileNotFoundError as `open` does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with (
        open(team, sha256) as source,
        _incoming(target.parent) as incoming,
    ):
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            incoming.write(chunk)
        # The last writes happen here, and fail here if the disk is full.
        incoming.flush()
        if digest.hexdigest() != sha256:
            raise DamagedArtifact(f"{target.name} in the store is not what was put there")
        os.replace(incoming.name, target)


def path(team: Team, sha256: str) -> Path:
    """Return the path of an artifact of `team`, for readers that need random access (Parquet).

    Raises FileNotFoundError as `open` does.
    """
    with open(team, sha256):
        return local_path(sha256)


def local_path(sha256: str) -> Path:
    """Return the path of the bytes. The caller has already checked access."""
    return Path(_store().path(_name(sha256)))


def collect(grace: timedelta = timedelta(hours=1)) -> int:
    """Delete artifacts that no row names and that were stored over `grace` ago; return how many.

    Parts of files that killed processes left are deleted too.
    Safe while any number of writers are active.
    """
    old = Artifact.objects.filter(stored_at__lt=Now() - grace)
    with transaction.atomic():
        _lock("pg_advisory_xact_lock")
        referenced = {team: _referenced(team) for team in set(old.values_list("team", flat=True))}
        unused = [
            artifact for artifact in old if artifact.sha256 not in referenced[artifact.team_id]
        ]
        Artifact.objects.filter(pk__in=[artifact.pk for artifact in unused]).delete()
        deleted = {artifact.sha256 for artifact in unused}
        # The bytes stay while a row of another team names them.
        for sha256 in deleted - set(
            Artifact.objects.filter(sha256__in=deleted).values_list("sha256", flat=True)
        ):
            _store().delete(_name(sha256))
    store = _store()
    if isinstance(store, AtomicFolder):
        store.remove_leftovers()
    return len(unused)


def _store() -> Storage:
    return storages["artifacts"]


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _lock(kind: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {kind}(%s)", [LOCK_KEY])


def _referenced(team_id: int) -> set[str]:
    """Return every hash that rows of the team name, by all registered readers."""
    return set().union(*(reader(team_id) for reader in _reference_readers))


def _digest(source: IO[bytes]) -> tuple[str, int]:
    source.seek(0)
    hasher, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size

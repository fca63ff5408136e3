"""Files of runs that clients log: their bytes in the artifact store, their paths in `RunFile`.

The same file at the same path again changes nothing; another one replaces it. Limits hold per file
and per run, so that one script cannot fill the disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from webapp.base.number_text import bytes_size
from webapp.clients import runs
from webapp.clients.client_batch import (
    ClientBatch,
    LoggedFile,
    LogLine,
    RunAddress,
    RunPublicId,
    cut,
    digest_id,
)
from webapp.clients.models import RunFile
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs.event_rows import storable
from webapp.runs.models import Run

MAX_FILES = 10_000
# The width of the column `path`, counted in characters.
LONGEST_PATH, DEEPEST_PATH = 500, 30
LONGEST_KEY, LONGEST_CAPTION = 250, 500


class FileRefused(Exception):
    """A file cannot be kept; the message says why, with the limit if it is one."""


def checked_path(path: str) -> str:
    """Return a client's path if it stays inside the run. Raises FileRefused."""
    parts = path.split("/")
    if path != _printable(path) or any(part in ("", ".", "..") for part in parts):
        raise FileRefused(
            f"{_printable(path)[:100]!r} is no path of a file inside a run: it may not begin with "
            "a slash or have empty parts, “.”, “..”, backslashes or control characters."
        )
    if len(path) > LONGEST_PATH or len(parts) > DEEPEST_PATH:
        raise FileRefused(
            f"{path[:100]!r} is too long: the path of a file may have {LONGEST_PATH} characters "
            f"and {DEEPEST_PATH} parts."
        )
    return path


def safe_path(*names: str) -> str:
    """Return a path inside the run for any names, such as the name of a logged value."""
    parts = [
        "_" if part in ("", ".", "..") else part for part in _printable("/".join(names)).split("/")
    ]
    # Beyond the deepest folder the rest is one name.
    parts[DEEPEST_PATH - 1 :] = ["_".join(parts[DEEPEST_PATH - 1 :])] * (len(parts) >= DEEPEST_PATH)
    path = "/".join(parts)
    suffix = PurePosixPath(path).suffix[:20]
    return path if len(path) <= LONGEST_PATH else cut(path, LONGEST_PATH - len(suffix)) + suffix


def _printable(path: str) -> str:
    # A file's name becomes a header of its download, where control characters would end it.
    return re.sub(r"[\x00-\x1f\x7f-\x9f\\]", "_", storable(path))


def check_size(name: str, size: int) -> None:
    """Raise FileRefused if a file is larger than any may be."""
    if size > settings.STILLROOM_FILE_BYTES:
        raise FileRefused(
            f"{name[:100]} has {size:,} bytes; a file of a run may have "
            f"{settings.STILLROOM_FILE_BYTES:,} ({bytes_size(settings.STILLROOM_FILE_BYTES)})."
        )


def put(run: Run, file: LoggedFile, stream: IO[bytes], size: int) -> None:
    """Store the `size` bytes of a stream as a file whose path is checked. Raises FileRefused."""
    check_size(file.path, size)
    # Before the bytes are stored, so that a full run costs no disk.
    _check_room(run, file.path, size)
    _set(run, file, artifacts.put(stream, run.team))


def remove(run: Run, path: str) -> None:
    """Remove the file at `path`, or all files below that folder; "" stands for all of the run."""
    run.files.filter(Q(path=path) | Q(path__startswith=f"{path}/") if path else Q()).delete()


def keep(batches: Sequence[ClientBatch]) -> Iterator[ClientBatch]:
    """Store the files of batches whose runs exist; yield log lines about those not kept."""
    for batch in batches:
        if batch.files:
            run = _run(batch.run)
            lines = [line for file in batch.files if (line := _kept(run, file)) is not None]
            if lines:
                yield ClientBatch(batch.run, lines=lines)


def referenced_artifacts(team_id: int) -> set[str]:
    """Return the SHA-256 of every file of the team's runs."""
    files = RunFile.objects.filter(run__team=team_id, artifact__isnull=False)
    return set(files.values_list("artifact__sha256", flat=True))


def _run(address: RunAddress | RunPublicId) -> Run:
    run_id = runs.at(address) if isinstance(address, RunAddress) else runs.named(address)
    return Run.objects.select_related("team").get(pk=run_id)


def _kept(run: Run, file: LoggedFile) -> LogLine | None:
    """Store a file; return the line of the run's log if it is refused."""
    try:
        if file.content is not None:
            put(run, file, BytesIO(file.content), len(file.content))
        elif file.sha256:
            # What was uploaded and named by nobody for an hour is deleted.
            artifact = Artifact.objects.filter(team=run.team, sha256=file.sha256).first()
            if artifact is None:
                raise FileRefused(f"{file.path} came too long after its upload. Log it again.")
            _set(run, file, artifact)
        else:
            _set(run, file, None)
    except FileRefused as problem:
        return refusal_line(run.public_id, file.path, str(problem), file.step)
    return None


def refusal_line(run: str, path: str, reason: str, step: int | None) -> LogLine:
    """Return the line of a run's log about a file that is not kept; once per path."""
    return LogLine(
        "warning",
        f"A file is not kept: {reason} It stays where it was logged.",
        step,
        time.time(),
        digest_id("file", run, path),
    )


def _check_room(run: Run, path: str, size: int) -> None:
    """Raise FileRefused unless the run has room for a file, which may replace one at its path."""
    folders = [str(folder) for folder in PurePosixPath(path).parents][:-1]
    if run.files.filter(Q(path__in=folders) | Q(path__startswith=f"{path}/")).exists():
        raise FileRefused(
            f"{path[:100]!r} cannot be a file beside the files that the run has: one name would be "
            "that of a file and of a folder."
        )
    others = run.files.exclude(path=path).aggregate(
        number=Count("pk"), size=Sum(F("artifact__size"), default=0)
    )
    if others["number"] >= MAX_FILES:
        raise FileRefused(f"A run may have {MAX_FILES:,} files, and this one has as many.")
    if others["size"] + size > settings.STILLROOM_RUN_FILES_BYTES:
        raise FileRefused(
            f"With {path[:100]} the files of this run would have {others['size'] + size:,} bytes; "
            f"those of a run may have {settings.STILLROOM_RUN_FILES_BYTES:,} "
            f"({bytes_size(settings.STILLROOM_RUN_FILES_BYTES)})."
        )


def _set(run: Run, file: LoggedFile, artifact: Artifact | None) -> None:
    facts = {
        "key": cut(file.key, LONGEST_KEY),
        "caption": storable(file.caption)[:LONGEST_CAPTION],
        "step": file.step,
    }
    facts = {name: value for name, value in facts.items() if value not in ("", None)}
    with transaction.atomic():
        # The lock makes files of one run take turns, so that together they keep its limits. It also
        # waits for a deletion of the run: Run.DoesNotExist is answered as for any run that is gone.
        Run.objects.select_for_update().get(pk=run.pk)
        _check_room(run, file.path, artifact.size if artifact else 0)
        row, _ = RunFile.objects.get_or_create(run=run, path=file.path)
        if artifact is not None and row.artifact_id != artifact.pk:
            facts |= {"artifact": artifact, "logged_at": timezone.now()}
        for name, value in facts.items():
            setattr(row, name, value)
        row.save(update_fields=list(facts))

"""Imports of uploaded files, beside the requests of pages.

An import is a row in Postgres (`waiting_rows`). A child process (`bounded_process`) unpacks its
files, reads them and records their runs. The files are in a folder of uploads, which a restart of
the web server empties: such an import ends, and its files may be uploaded again, because values
count once.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.db.models.functions import Now

from trainer.text.problems import ProblemError
from webapp.access.models import Team, User
from webapp.clients import import_process
from webapp.clients.models import RunImport
from webapp.library import bounded_process, uploads
from webapp.library.waiting_rows import WaitingRows

log = logging.getLogger(__name__)
MOST_AT_ONCE = 2
MOST_SECONDS = 3600.0
# Of a team: the files of each take up the disk until it ends.
MOST_UNFINISHED = 4
STORE_SECONDS = 0.5
STORED = "What was read before that is stored."
INTERRUPTED = f"The server was restarted during the import. {STORED} Import the files again."
FAILED = f"The import ended by an error of the server, which is in its log. {STORED}"


class TooManyImports(Exception):
    """A team has enough unfinished imports; the message says what to do."""


def begin(
    team: Team, user: User | None, format: str, project: str, files: Sequence[UploadedFile]
) -> RunImport:
    """Let uploaded files be imported; they are moved away. Raises TooManyImports."""
    if IMPORTS.unfinished().filter(team=team).count() >= MOST_UNFINISHED:
        raise TooManyImports(
            f"The team has {MOST_UNFINISHED} imports that have not ended; wait for one of them."
        )
    row = RunImport.objects.create(
        team=team,
        created_by=user,
        format=format,
        project=project,
        files=[uploads.base_name(file.name or "") for file in files],
    )
    folder = _folder_of(row)
    folder.mkdir()
    for index, file in enumerate(files):
        uploads.path_of(file).rename(folder / str(index))
    transaction.on_commit(IMPORTS.start)
    return row


def execute(row: RunImport) -> None:
    """Import the files, and store how many values each run got, or what was wrong."""
    rows, folder = IMPORTS.unfinished().filter(pk=row.pk), _folder_of(row)
    counts: dict[str, int] = {}
    stored_at = time.monotonic()

    def follow(news: str | tuple[str, int] | None) -> None:
        nonlocal stored_at
        if isinstance(news, tuple):
            run, count = news
            counts[run] = counts.get(run, 0) + count
        elif news:
            rows.update(progress=news)
        if news is None or time.monotonic() - stored_at > STORE_SECONDS:
            stored_at = time.monotonic()
            rows.update(heartbeat_at=Now(), **_results(counts))

    problem = "" if folder.exists() else INTERRUPTED
    try:
        if not problem:
            bounded_process.run(
                import_process.read,
                connection.settings_dict,
                folder,
                row.files,
                row.format,
                row.team_id,
                row.created_by_id,
                row.project,
                seconds=MOST_SECONDS,
                follow=follow,
            )
    except bounded_process.NotRead as error:
        problem = f"{str(error)[:1].upper()}{str(error)[1:]}. {STORED}"
    except ProblemError as error:
        problem = str(error)
    except RuntimeError:
        log.exception("import %d failed", row.pk)
        problem = FAILED
    rows.update(ended_at=Now(), problem=problem, **_results(counts))
    # Not before: an import whose end is not stored is made again from its files.
    shutil.rmtree(folder, ignore_errors=True)


def _results(counts: dict[str, int]) -> dict[str, list[tuple[str, int]]]:
    # Of an import that is made again, the results before it stay until there are new ones.
    return {"results": list(counts.items())} if counts else {}


def _folder_of(row: RunImport) -> Path:
    return Path(settings.UPLOADS) / f"import-{row.pk}"


IMPORTS = WaitingRows(RunImport, execute, MOST_AT_ONCE)

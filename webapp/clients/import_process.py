"""The child process that imports uploaded files (`run_imports`): with limits, beside all requests.

It starts without Django, see `bounded_process`, so that everything else is imported late.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.text.problems import ProblemError

# A text of the progress, or the public id of a run and how many values it got.
Report = Callable[[str | tuple[str, int]], None]
UNPACKED = "files"


def read(
    database: Mapping[str, Any],
    folder: Path,
    names: Sequence[str],
    format: str,
    team_id: int,
    owner_id: int | None,
    project: str,
    report: Report,
) -> None:
    """Import the runs in the files `0`, `1`, … of `folder`, which were uploaded under `names`.

    `database` are the settings of the server's database. Raises ProblemError.
    """
    _set_up(database)
    from webapp.access.models import Team, User
    from webapp.clients.importers import UnreadableFile, imported_runs
    from webapp.clients.importers.uploaded_files import UploadedFolder

    unpacked = folder / UNPACKED
    # An import that was lost has left it half done.
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    owner = None if owner_id is None else User.objects.get(pk=owner_id)
    try:
        UploadedFolder(unpacked).add(
            [(name, folder / str(index)) for index, name in enumerate(names)]
        )
        runs = imported_runs(
            unpacked, format, Team.objects.get(pk=team_id), owner, project, tell=report
        )
        for run, count in runs:
            report((run.public_id, count))
    except UnreadableFile as error:
        raise ProblemError(str(error)) from error


def _set_up(database: Mapping[str, Any]) -> None:
    import django
    from django.conf import settings

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    settings.DATABASES["default"] = dict(database)
    django.setup()

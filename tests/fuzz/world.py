"""The rows that targets with a database need, and the files beside them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from zlib import crc32

from django.conf import settings
from django.db import connection, transaction
from django.test import Client, override_settings

from tests.fuzz.inputs import Input
from tests.webapp.conftest import member
from webapp.access.models import Role, Team, User
from webapp.runs.models import Run

# Statements of one page, and characters of one of them.
MOST_STATEMENTS, LONGEST_STATEMENT = 150, 200_000


# What is shown of a run, whatever it recorded.
PAGES = (
    *("", "series.json", "series.csv", "rollouts/", "frontier/", "frontier.json", "calibration/"),
    *("tokens/", "privileged/", "log/", "log.txt", "config/", "config.yaml", "checkpoints/"),
)
STATUSES = (200, 301, 302, 304, 400, 403, 404, 405, 422)
LONGEST_ANSWER = 2 * 2**20


@dataclass(frozen=True)
class World:
    """A team with an editor and her browser; all files of the server are in one folder."""

    team: Team
    editor: User
    client: Client

    def get(self, path: str, query: str = "") -> str:
        """Ask for a page, and return which one came."""
        with connection.execute_wrapper(Statements()):
            answer = self.client.get(path, QUERY_STRING=query)
            # Django warns that it reads a stream at once.
            with warnings.catch_warnings(action="ignore"):
                length = len(b"".join(answer)) if answer.streaming else len(answer.content)
        assert answer.status_code in STATUSES, f"{path}?{query}: {answer.status_code}"
        assert length <= LONGEST_ANSWER, f"{path}?{query}: {length:,} bytes"
        template = answer.templates[0].name if answer.templates else ""
        return f"{template} {answer.status_code} of {'i' * length.bit_length()} bytes"

    def get_some_pages(self, run: Run, input: Input) -> None:
        """Ask for the list and for two pages of a run: always the same of an input."""
        number = crc32(repr(sorted(input.items())).encode())
        for page in (PAGES[number % len(PAGES)], PAGES[number // len(PAGES) % len(PAGES)]):
            self.get(f"/runs/{run.public_id}/{page}")
        self.get("/")


@contextmanager
def opened(folder: Path) -> Iterator[World]:
    """Make a team in a transaction that is undone in the end."""
    uploads = folder / "uploads"
    uploads.mkdir(exist_ok=True)
    stored: Any = settings.STORAGES["artifacts"]
    artifacts = {**stored, "OPTIONS": {"location": folder / "store"}}
    with (
        override_settings(
            STORAGES={**settings.STORAGES, "artifacts": artifacts},
            UPLOADS=uploads,
            FILE_UPLOAD_TEMP_DIR=str(uploads),
        ),
        undone(),
    ):
        team = Team.objects.create(name="Fuzz", slug="fuzz")
        editor, client = member("erin@fuzz.example", "Erin", team, Role.EDITOR), Client()
        client.force_login(editor)
        # What reads files in children is started once, before programs are watched.
        forkserver.ensure_running()
        yield World(team, editor, client)


@contextmanager
def undone() -> Iterator[None]:
    """What is written to the database inside is undone, whatever happens."""
    with transaction.atomic():
        savepoint = transaction.savepoint()
        try:
            yield
        finally:
            connection.needs_rollback = False
            transaction.savepoint_rollback(savepoint)


class Statements:
    """Counts the statements of a page, and refuses a page with too many or too long ones."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        self.count += 1
        assert self.count <= MOST_STATEMENTS, f"more than {MOST_STATEMENTS} statements: {sql[:500]}"
        assert len(sql) <= LONGEST_STATEMENT, f"a statement of {len(sql):,} characters: {sql[:500]}"
        return execute(sql, params, many, context)

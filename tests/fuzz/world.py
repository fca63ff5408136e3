"""The rows that targets with a database need, and the files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings

from tests.webapp.conftest import member
from webapp.access.models import Role, Team, User

# Statements of one page, and characters of one of them.
MOST_STATEMENTS, LONGEST_STATEMENT = 150, 200_000


@dataclass(frozen=True)
class World:
    """A team with an editor; all files of the server are in one folder."""

    team: Team
    editor: User


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
        yield World(team, member("erin@fuzz.example", "Erin", team, Role.EDITOR))


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

"""The backup that docs/operations.md describes, with the programs that come along: dumped, restored
beside, compared.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection

from tests.webapp.conftest import SPEC
from tests.webapp.logs import losses
from tests.webapp.recorded import recorded
from webapp.access.models import Team, User
from webapp.ingest import event_log
from webapp.runs import leases, lifecycle
from webapp.series import series_store
from workers.launcher.services import binaries

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.fixture
def empty(child_environment: dict[str, str]) -> Iterator[str]:
    """The address of an empty database beside that of the test."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE restored")
    given = urlsplit(child_environment["DATABASE_URL"])
    yield f"{given.scheme}://{given.netloc}/restored?{given.query}"
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE restored WITH (FORCE)")


@pytest.mark.django_db(transaction=True)
def test_a_restored_dump_holds_every_row(
    child_environment: dict[str, str], empty: str, tmp_path: Path
) -> None:
    team = Team.objects.create(name="Still", slug="still")
    recorded(team, User.objects.create_user("alice@still.example"), tmp_path / "run")
    grown = lifecycle.create_run(team, None, SPEC)
    leases.claim(grown.pk, "host-a")
    event_log.ingest(grown.pk, 1, losses(1, 300), tmp_path)
    assert series_store.keys(grown) == ["loss"]
    before = rows(child_environment["DATABASE_URL"])
    dump = tmp_path / "stillroom.dump"
    run("pg_dump", *options_of("pg_dump"), f"--file={dump}", child_environment["DATABASE_URL"])
    run("pg_restore", *options_of("pg_restore"), f"--dbname={empty}", str(dump))
    assert rows(empty) == before
    assert before["runs_run"][0] == 2


def options_of(program: str) -> list[str]:
    """The options that the page gives to the program, but for those that say where."""
    line = next(
        line
        for line in OPERATIONS.splitlines()
        if line.startswith("    docker") and f" {program} " in line
    )
    told = re.sub(
        r"--(username|dbname) \S+|[<>] \S+| stillroom\b", "", line.partition(f" {program} ")[2]
    )
    assert told.strip()
    return told.split()


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(binaries.find_installed().postgres(program)), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def rows(address: str) -> dict[str, tuple[int, str]]:
    """How many rows each table has, and a digest of them."""
    with psycopg.connect(address) as database:
        names = [
            name
            for (name,) in database.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            )
        ]
        question = "SELECT count(*), md5(coalesce(string_agg(one::text, chr(10) ORDER BY one::text), '')) FROM \"{}\" AS one"
        return {name: database.execute(question.format(name)).fetchall()[0] for name in names}

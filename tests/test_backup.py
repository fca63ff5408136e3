"""The backup in docs/operations.md, with the programs of our packages: dump, restore, compare."""

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
    """Yield the address of an empty database on the test's server."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE restored")
    url = urlsplit(child_environment["DATABASE_URL"])
    yield f"{url.scheme}://{url.netloc}/restored?{url.query}"
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
    """Return the program's options on the page, without those that name files and databases."""
    line = next(
        line
        for line in OPERATIONS.splitlines()
        if line.startswith("    docker") and f" {program} " in line
    )
    options = re.sub(
        r"--(username|dbname) \S+|[<>] \S+| stillroom\b", "", line.partition(f" {program} ")[2]
    )
    assert options.strip()
    return options.split()


def run(program: str, *arguments: str) -> None:
    process = subprocess.run(
        [str(binaries.find_installed().postgres(program)), *arguments],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr


def rows(address: str) -> dict[str, tuple[int, str]]:
    """Return for each table the number of rows and a digest of them."""
    with psycopg.connect(address) as database:
        names = [
            name
            for (name,) in database.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            )
        ]
        query = (
            "SELECT count(*), "
            "md5(coalesce(string_agg(record::text, chr(10) ORDER BY record::text), '')) "
            'FROM "{}" AS record'
        )
        return {name: database.execute(query.format(name)).fetchall()[0] for name in names}

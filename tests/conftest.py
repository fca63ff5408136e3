"""Fixtures for every test. Postgres and Redis come from the plugin `tests.services`."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings as django_settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings
from psycopg.errors import DeadlockDetected, ForeignKeyViolation

EMPTYINGS = 5
BESIDE_A_WRITER = (DeadlockDetected, ForeignKeyViolation)
KEPT = ("django_migrations", "django_content_type", "auth_permission")

settings.register_profile("no timing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no timing")


def pytest_sessionstart() -> None:
    """Collect no garbage while modules are imported: they leave little, and have many objects."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the collector ignore what is loaded by now: otherwise each pass looks through it all,
    which takes half a second. The trainer collects whenever memory runs out.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: None) -> None:
    """Start the services before pytest-django makes its test database; tests without a database
    never pay for them.
    """


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close the connections of threads that outlive a test, before the test database is dropped:
    Postgres refuses that while somebody is connected.
    """
    yield
    readers = sys.modules.get("webapp.live.reader_threads")
    pools = [SyncToAsync.single_thread_executor, *([readers.THREADS] if readers else [])]
    for pool in pools:
        # Each thread waits for the others, so that none closes its own twice and another never.
        everybody = threading.Barrier(max(1, len(pool._threads)))
        for closed in [pool.submit(_close_sessions, everybody) for _ in range(everybody.parties)]:
            closed.result()


def _close_sessions(everybody: threading.Barrier) -> None:
    connections.close_all()
    everybody.wait()


@pytest.fixture(scope="session", autouse=True)
def quick_emptying() -> Iterator[None]:
    """Tests with real transactions leave rows. Deleting those few is many times quicker than
    Django's flush, which truncates each table.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: _empty_tables())
        yield


def _empty_tables() -> None:
    """Empty all tables but those that migrations filled. Beside a server that still writes this may
    meet a deadlock, or a row that was written meanwhile, and tries again.
    """
    for attempts_left in reversed(range(EMPTYINGS)):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    ";".join(
                        f'DELETE FROM "{table}"'
                        for table in connection.introspection.django_table_names()
                        if table not in KEPT
                    )
                )
            return
        except (OperationalError, IntegrityError) as problem:
            if not attempts_left or not isinstance(problem.__cause__, BESIDE_A_WRITER):
                raise


@pytest.fixture(scope="session", autouse=True)
def quick_clients() -> Iterator[None]:
    """Each test client loads the middlewares anew, and WhiteNoise would list every static file each
    time; so it looks when it is asked.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(django_settings, "WHITENOISE_AUTOREFRESH", True)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hash passwords as always, but with a thousandth of the rounds, which are there to take time:
    a second per password on a slow machine.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1000)
        yield


@pytest.fixture(scope="session")
def child_environment(services: None, django_db_setup: None) -> dict[str, str]:
    """Environment for processes that a test starts (web, worker, manage.py): they use the test
    database, not the one beside it.
    """
    beside = urlsplit(os.environ["DATABASE_URL"])
    address = f"{beside.scheme}://{beside.netloc}/{connection.settings_dict['NAME']}?{beside.query}"
    return {**os.environ, "DATABASE_URL": address}

"""A kept connection to Postgres is looked at before it is used again, without asking the server."""

from __future__ import annotations

import time
from unittest.mock import patch

import psycopg
import pytest
from django.db import OperationalError, close_old_connections, connection
from django.db.backends.postgresql import base

from webapp.base.read_snapshot import snapshot


def backend_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@pytest.mark.usefixtures("transactional_db")
def test_a_kept_connection_is_reused_without_a_check_query() -> None:
    before = backend_id()
    with patch.object(
        base.DatabaseWrapper, "is_usable", side_effect=AssertionError("the server was asked")
    ):
        assert connection.is_usable()
    assert backend_id() == before


@pytest.mark.usefixtures("transactional_db")
def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    before = backend_id()
    with psycopg.connect(
        connection.connection.info.dsn,
        password=connection.connection.info.password,
        autocommit=True,
    ) as other_connection:
        other_connection.execute("SELECT pg_terminate_backend(%s)", [before])
        while other_connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE pid = %s", [before]
        ).fetchone():
            time.sleep(0.01)
    close_old_connections()  # as Django does when a request begins
    assert backend_id() != before


@pytest.mark.usefixtures("transactional_db")
def test_after_a_snapshot_the_connection_writes_as_before() -> None:
    with snapshot(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("read committed",)
        cursor.execute("CREATE TEMPORARY TABLE written (one int)")


@pytest.mark.usefixtures("transactional_db")
def test_a_snapshot_that_the_server_ends_says_so_and_the_next_one_works() -> None:
    def ended() -> None:
        with snapshot(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(OperationalError):
        ended()
    connection.close()
    with snapshot():
        assert backend_id()

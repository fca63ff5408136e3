"""Whether a process answers, and whether it can do its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from webapp.library import artifacts
from webapp.pages.site import health

pytestmark = pytest.mark.django_db


def test_a_process_that_answers_is_alive_whatever_it_lacks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "cursor", _refuse)
    assert client.get("/healthz").status_code == 200


def test_everything_that_pages_need_is_ready(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "postgres": "ok", "migrations": "ok", "artifacts": "ok", "redis": "ok"},
    )


def test_without_postgres_it_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "cursor", _refuse)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["postgres"]) == (503, "does not answer")


def test_with_migrations_to_come_it_is_not_ready_until_they_are_applied(client: Client) -> None:
    health._missing_migrations.cache_clear()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'live' OR (app = 'sessions' AND "
            "name = '0001_initial')"
        )
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "1 not applied")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('sessions', "
            "'0001_initial', now())"
        )
    assert client.get("/readyz").json()["migrations"] == "ok"


def test_with_a_store_that_cannot_be_written_it_is_not_ready(
    client: Client, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = {"OPTIONS": {"location": tmp_path / "file"}}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {**settings.STORAGES["artifacts"], **folder},
    }
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["artifacts"]) == (503, "cannot be written")


def test_the_question_leaves_nothing_in_the_store(client: Client, tmp_path: Path) -> None:
    artifacts.check()
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_without_redis_it_is_ready_and_says_what_is_degraded(client: Client, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (200, "degraded: does not answer")


def _refuse() -> None:
    raise OperationalError("connection refused")

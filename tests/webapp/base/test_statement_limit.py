"""A statement of the web that takes long is stopped, and the page says so."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import connection
from django.test import Client

from webapp.access import api_tokens
from webapp.access.models import Scope, Team, User
from webapp.api.app import ApiApplication

SHOW = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
{setup}
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(cursor.fetchone()[0])
"""


@pytest.mark.parametrize(
    ("setup", "limit"), [("import webapp.asgi", "10s"), ("import django; django.setup()", "0")]
)
def test_only_the_web_has_a_limit(
    child_environment: dict[str, str], setup: str, limit: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SHOW.format(setup=setup)],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == limit


@pytest.mark.django_db(transaction=True)
def test_the_page_says_what_to_do(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    monkeypatch.setattr("webapp.access.permissions.visible", _sleep)
    try:
        response = client.get("/")
    finally:
        connection.close()
    assert (response.status_code, "fewer words" in response.content.decode()) == (503, True)


@pytest.fixture
def token(transactional_db: None, still: Team, erin: User) -> str:
    return api_tokens.make(still, "cluster", Scope.LOG, erin)


@pytest.mark.django_db(transaction=True)
async def test_a_program_is_told_when_to_try_again(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.access.permissions.visible", _sleep)
    # One thread, which closes its connection after the error.
    monkeypatch.setattr("webapp.api.app.THREADS", ThreadPoolExecutor(1))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/2.0/mlflow/experiments/get",
        "query_string": b"experiment_id=1",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())],
    }
    request = ApplicationCommunicator(ApiApplication(), scope)
    await request.send_input({"type": "http.request", "body": b""})
    start, answer = await request.receive_output(10), await request.receive_output(10)
    assert (start["status"], b"fewer runs" in answer["body"]) == (503, True)
    assert (b"retry-after", b"10") in start["headers"]


def _sleep(*_: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '50ms'")
        cursor.execute("SELECT pg_sleep(60)")

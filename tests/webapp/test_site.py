"""What every answer of the site has in common: headers, hosts, refusals, and a bound on what it
takes.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from django.db import OperationalError
from django.test import Client

from webapp.access import one_time_links
from webapp.access.models import User
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/", "/models/", "/docs/", "/nowhere/", "/sign-in/"])
def test_no_cache_that_people_share_stores_a_page(client: Client, alice: User, path: str) -> None:
    assert "private" in client.get(path).headers["Cache-Control"]
    client.force_login(alice)
    assert "private" in client.get(path).headers["Cache-Control"]


def test_scripts_and_styles_may_be_stored(client: Client) -> None:
    assert "private" not in client.get("/static/css/base.css").headers["Cache-Control"]


def test_browsers_are_told_to_stay_with_tls() -> None:
    """With the header of a proxy that ends TLS; the settings are read at the start."""
    code = (
        "import django; django.setup(); from django.test import Client; "
        "print(*(Client().get('/healthz', headers={'X-Forwarded-Proto': scheme})"
        ".headers.get('Strict-Transport-Security') for scheme in ('https', 'http')), sep='|')"
    )
    variables = {"STILLROOM_HTTPS": "1", "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables, "ALLOWED_HOSTS": "testserver"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.strip().splitlines()[-1] == "max-age=31536000|None"


@pytest.mark.parametrize("path", ["/sign-in/", "/healthz", "/static/css/base.css", "/nowhere/"])
def test_every_answer_forbids_inline_scripts_framing_and_guessing(
    client: Client, path: str
) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/sign-in/", "/healthz", "/static/css/base.css"])
def test_another_hosts_name_is_refused(client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "attacker.example"}).status_code == 400


def test_cookies_are_closed_to_scripts_and_other_sites(client: Client, alice: User) -> None:
    client.post(f"/sign-in/{one_time_links.make_sign_in_link(alice)}/")
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_nothing_there_is_said_in_a_sentence(client: Client, alice: User) -> None:
    client.force_login(alice)
    answer = client.get("/runs/nosuchrun/")
    assert answer.status_code == 404
    assert "do not have access to it" in answer.content.decode()


def test_a_refusal_names_the_reason(client: Client, bob: User, alice: User) -> None:
    client.force_login(bob)
    answer = client.post("/team/invite/", {"role": "admin"})
    assert "Your role in this team does not allow that." in answer.content.decode()


def test_an_address_that_only_takes_a_form_says_so(client: Client, alice: User, run: Run) -> None:
    client.force_login(alice)
    answer = client.get(f"/runs/{run.public_id}/stop/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "only accepts a form or a button press" in answer.content.decode()
    assert "Import YAML" in client.get("/runs/import/", follow=True).content.decode()


def test_health_is_told_to_anybody(client: Client) -> None:
    assert client.get("/healthz").json() == {"ok": True}


@pytest.mark.parametrize(
    "path",
    [
        "/favicon.ico",
        "/static/vendor/uplot/uPlot.esm.js",
        "/static/vendor/htmx/htmx.min.js",
        "/static/css/base.css",
    ],
)
def test_scripts_and_styles_come_from_here(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert len(b"".join(answer)) > 1000


@pytest.mark.parametrize(
    "path",
    [
        "/static/../webapp/settings.py",
        "/static/%2e%2e/webapp/settings.py",
        "/static/..%2f..%2fmanage.py",
    ],
)
def test_nothing_beside_the_static_files_is_served(client: Client, path: str) -> None:
    assert client.get(path).status_code in (302, 400, 404)


@pytest.mark.parametrize(
    ("failure", "status", "sentence"),
    [
        (OperationalError("server closed the connection"), 503, "database does not answer"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "disk is full"),
        (RuntimeError("nobody expects this"), 500, "Something went wrong"),
    ],
)
def test_a_failure_of_the_server_is_told_in_a_sentence_without_its_trace(
    alice: User, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, sentence: str
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("webapp.access.permissions.visible", fail)
    answer = client.get("/")
    assert answer.status_code == status
    assert sentence in answer.content.decode() and "Traceback" not in answer.content.decode()

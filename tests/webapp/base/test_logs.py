"""What is written down: one line per record, about whom it is, and no secret."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from webapp.access import one_time_links
from webapp.access.models import User
from webapp.base import logs
from webapp.base.logs import without_secrets
from webapp.runs.models import Run

SECRET = "c2VjcmV0LXRva2VuLW9mLWEtcGVyc29u"


def lines(style: str, code: str, **variables: str) -> list[str]:
    """What a process of ours with that style of logs writes to standard error."""
    program = (
        "import django; django.setup(); import logging; from webapp.base import logs; log "
        f"= logging.getLogger('ours')\n{code}"
    )
    environment = {
        **os.environ,
        "STILLROOM_LOGS": style,
        "DJANGO_SETTINGS_MODULE": "webapp.settings",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_each_log_record_is_one_json_object_with_its_context() -> None:
    code = (
        "with logs.log_context(run='abc', attempt=2): log.warning('two\\nlines of %s', 'text')\n"
        "try: 1 / 0\nexcept ZeroDivisionError: log.exception('It broke.')"
    )
    first, second = (json.loads(line) for line in lines("json", code))
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "level": "WARNING",
        "logger": "ours",
        "message": "two\nlines of text",
        "run": "abc",
        "attempt": 2,
    }
    assert "ZeroDivisionError" in second["traceback"] and "run" not in second


def test_the_text_format_is_one_plain_line() -> None:
    (line,) = lines("text", "with logs.log_context(run='abc', attempt=2): log.info('It began.')")
    assert line.endswith("INFO ours: It began. [run=abc attempt=2]")


@pytest.mark.parametrize(
    "message",
    [
        f"GET /s/{SECRET}/ HTTP/1.1",
        f"POST /sign-in/{SECRET}/",
        f"/invitations/{SECRET}/",
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"connection to postgresql://stillroom:{SECRET}@postgres/stillroom failed",
        f"redis://:{SECRET}@redis:6379/0",
        f"https://hub.example/x?token={SECRET}&y=1",
        f"Cookie: sessionid={SECRET}; theme=dark",
    ],
)
def test_no_secret_is_written(message: str) -> None:
    assert SECRET not in without_secrets(message)


def test_values_of_secret_settings_are_hidden_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_HUB", "plain-words-as-secret")
    assert "plain-words" not in without_secrets(
        "the endpoint said: bad key 'plain-words-as-secret'"
    )


def test_a_secret_in_a_traceback_is_hidden_too() -> None:
    text = "\n".join(
        lines(
            "json",
            (
                f"try: raise OSError('postgresql://a:{SECRET}@host/x')\nexcept OSError: "
                "log.exception('x')"
            ),
        )
    )
    assert "OSError" in text and SECRET not in text


def test_ordinary_words_are_not_hidden() -> None:
    text = "run abc: step 12 at /runs/abc/s/ took 3 s; keys=loss; see http://localhost:8000/runs/"
    assert without_secrets(text) == text


@pytest.mark.django_db
def test_a_request_leaves_one_line_that_names_view_and_person_but_no_token(
    client: Client, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    token = one_time_links.make_sign_in_link(alice)
    caplog.handler.addFilter(logs.ContextFilter())
    with caplog.at_level(logging.INFO, "webapp.base.requests"):
        client.post(f"/sign-in/{token}/")
        client.get("/account/", headers={"x-request-id": "given-by-the-proxy"})
        client.get("/healthz")
    records: list[Any] = [
        record for record in caplog.records if record.name == "webapp.base.requests"
    ]
    assert [record.view for record in records] == ["sign_in_link", "account"]
    assert (records[1].request, records[1].user, records[1].status) == (
        "given-by-the-proxy",
        alice.pk,
        200,
    )
    assert token not in caplog.text


@pytest.mark.django_db
def test_the_answer_carries_the_requests_id(client: Client, run: Run) -> None:
    assert (
        client.get("/healthz", headers={"x-request-id": "given-by-the-proxy"})["X-Request-ID"]
        == "given-by-the-proxy"
    )
    request_id = client.get("/healthz", headers={"x-request-id": "not an id\tat all"})[
        "X-Request-ID"
    ]
    assert request_id != client.get("/healthz")["X-Request-ID"] and len(request_id) == 16

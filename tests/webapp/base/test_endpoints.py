"""Which URLs a teacher behind an endpoint may have."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.webapp.conftest import SPEC
from tests.webapp.pages.test_new_run import posted
from webapp.access.models import User
from webapp.base import endpoints

LISTED = ("https://models.example/v1", "http://10.0.0.5:8000/")


@pytest.fixture(autouse=True)
def _listed(settings: Any) -> None:
    settings.STILLROOM_ENDPOINTS = LISTED


@pytest.mark.parametrize(
    "url",
    ["https://models.example/v1", "https://models.example/v1/large", "http://10.0.0.5:8000/v1"],
)
def test_listed_folders_and_their_contents_are_allowed(url: str) -> None:
    assert endpoints.is_allowed(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example.evil.org/v1",
        "https://models.example/v1evil",
        "https://models.example/v1/../admin",
        "https://models.example/v1/%2e%2e/admin",
        "https://models.example@evil.org/v1",
        "http://models.example/v1",
        "http://10.0.0.5:80001/v1",
        "http://169.254.169.254/latest",
        "https://models.example/v1?x=1",
        "https://models.example/v1#x",
        "http://[::1",
        # Encoded once, twice or in another way, and what some clients drop or rewrite.
        "https://models.example/v1/.%2e/admin",
        "https://models.example/v1/%252e%252e/admin",
        "https://models.example/v1/%25252e%25252e/admin",
        "https://models.example/v1%2f..%2fadmin",
        "https://models.example/v1/..;/admin",
        "https://models.example/v1/./admin",
        "https://models.example/v1//evil.org/admin",
        "https://models.example/v1/\\..\\admin",
        "https://models.example/v1/.\n./admin",
        "https://models.example/v1/.\t./admin",
        "https://models.example/v1/.\r./admin",
        "https://models.example/v1\r\nHost: evil.org",
        "https://models.example/v1 ",
        " https://models.example/v1",
        "https://models.example/v1\n",
        "https://models.example/v1/\u2025/admin",
        "https://models.example/v1/\uff0e\uff0e/admin",
        "https://models\u3002example/v1",
        "https://models.example\u2044/v1",
        "https://models.example\x00.evil.org/v1",
        "https:/models.example/v1",
        "https:models.example/v1",
        "//models.example/v1",
        "HTTPS://evil.org/https://models.example/v1",
        "https://user:key@models.example/v1",
        "https://models.example:443@evil.org/v1",
        # Other ways to write 10.0.0.5.
        "http://167772165:8000/v1",
        "http://0x0a000005:8000/v1",
        "http://012.0.0.5:8000/v1",
        "http://10.5:8000/v1",
        "http://[::ffff:10.0.0.5]:8000/v1",
        "http://10.0.0.5./v1",
        "http://10.0.0.5:08000/v1",
        "http://10.0.0.5/v1",
        "",
        "https://",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    assert not endpoints.is_allowed(url)


@pytest.mark.django_db
def test_the_form_shows_the_allowed_folders(alice: User) -> None:
    teacher = {"kind": "endpoint", "url": "https://elsewhere.example/v1", "model": "large"}
    stages = [{"name": "only", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}]
    client = Client()
    client.force_login(alice)
    page = client.post(
        "/runs/new/check/", posted({**SPEC, "networks": {"teacher": teacher}, "stages": stages})
    ).content.decode()
    assert 'data-target="field-networks-teacher-url-endpoint"' in page
    assert "This server may ask: https://models.example/v1, http://10.0.0.5:8000/." in page

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
        "http://[::1",
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

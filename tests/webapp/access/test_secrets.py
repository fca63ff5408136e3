"""A secret of the workers belongs to the teams that the operator lists."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webapp.conftest import SPEC
from tests.webapp.pages.test_new_run import as_, posted
from webapp.access import secrets
from webapp.access.models import Team, User

pytestmark = pytest.mark.django_db


def test_the_only_team_has_all_secrets(still: Team, settings: Any) -> None:
    settings.STILLROOM_SECRET_TEAMS = {}
    assert secrets.refusal("secret:big-model", still) == ""


def test_with_several_teams_a_secret_must_be_listed(
    still: Team, charlie: User, settings: Any
) -> None:
    other = Team.objects.get(slug="other")
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG_MODEL": frozenset({"still"})}
    assert secrets.refusal("secret:big-model", still) == ""
    # Another spelling of the same variable.
    assert secrets.refusal("secret:BIG_MODEL", still) == ""
    assert secrets.refusal(None, other) == ""

    refused, unknown = (
        secrets.refusal(uri, other) for uri in ("secret:Big.Model", "secret:not-listed")
    )
    assert refused.replace("Big.Model", "") == unknown.replace("not-listed", "")
    assert "Big.Model=other in STILLROOM_SECRET_TEAMS" in refused


def test_the_form_refuses_the_secret_of_another_team(
    alice: User, charlie: User, settings: Any
) -> None:
    settings.STILLROOM_ENDPOINTS = ("https://models.example/v1",)
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG": frozenset({"other"})}
    teacher = {
        "kind": "endpoint",
        "url": "https://models.example/v1",
        "model": "large",
        "key": "secret:big",
    }
    stages = [{"name": "only", "source": "teacher_written", "objective": {"kind": "cross_entropy"}}]
    definition = posted({**SPEC, "networks": {"teacher": teacher}, "stages": stages})
    sentence = "is no secret of this team"
    page = as_(alice).post("/runs/new/check/", definition).content.decode()
    assert sentence in page.lower()
    page = as_(charlie).post("/runs/new/check/", definition).content.decode()
    assert sentence not in page.lower()


def test_the_form_checks_servers_and_secret_of_a_served_teacher(alice: User, settings: Any) -> None:
    settings.STILLROOM_ENDPOINTS = ("http://10.0.0.5:8000",)
    settings.STILLROOM_SECRET_TEAMS = {"STILLROOM_SECRET_BIG": frozenset({"other"})}
    teacher = {
        "kind": "served",
        "urls": ["http://10.0.0.5:8000", "http://10.0.0.6:8000"],
        "model": "large",
        "key": "secret:big",
        "tokenizer": "builtin:teacher",
        "gives": {"kind": "hidden_states", "head": "model:unknown@1234"},
    }
    specialists = [{"domains": ["add"], "teacher": teacher}]
    for networks, path in (
        ({"teacher": teacher}, "networks-teacher"),
        ({"specialists": specialists}, "networks-specialists-0-teacher"),
    ):
        definition = posted({**SPEC, "networks": networks, "stages": [{"name": "only"}]})
        page = as_(alice).post("/runs/new/check/", definition).content.decode()
        assert "is no endpoint that this server may ask" in page
        assert "is no secret of this team" in page.lower()
        for setting in ("urls-served", "gives-head-hidden_states"):
            assert f'data-target="field-{path}-{setting}"' in page, setting

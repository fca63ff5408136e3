"""The team page's tokens for programs: who makes, sees and revokes them."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from webapp.access import api_tokens
from webapp.access.models import ApiToken, Scope, Team, User

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_token_is_shown_once_with_the_lines_to_paste(erin: User) -> None:
    client = signed_in(erin)
    answer = client.post("/team/tokens/", {"name": "cluster", "scope": "log", "days": "30"})
    assert answer.headers["Location"] == "/team/#tokens"
    response = client.get("/team/")
    page = response.content.decode()
    assert response.headers["Cache-Control"] == "no-store"
    token_match = re.search(
        r"http://testserver/\?write_token=([\w-]{43})&quot;", page.replace('"', "&quot;")
    )
    assert token_match is not None and f'MLFLOW_TRACKING_TOKEN="{token_match[1]}"' in page.replace(
        "&quot;", '"'
    )
    actor = api_tokens.actor_of_token(token_match[1])
    assert actor is not None and actor.user == erin
    reloaded_page = client.get("/team/").content.decode()
    assert "cluster" in reloaded_page and token_match[1] not in reloaded_page
    token = ApiToken.objects.get()
    assert token.expires_at is not None and (token.expires_at - token.created_at).days in (29, 30)


def test_a_token_expires_unless_its_creator_chooses_otherwise(erin: User) -> None:
    page = signed_in(erin).get("/team/").content.decode()
    assert '<option value="90" selected>' in page


def test_a_secret_is_shown_only_on_the_page_that_it_was_created_for(erin: User) -> None:
    client = signed_in(erin)
    client.post("/team/tokens/", {"name": "cluster", "scope": "log"})
    client.get("/")
    carried = client.cookies["shown_once"].value
    client.cookies["shown_once"] = carried[:-1] + ("A" if carried[-1] != "A" else "B")
    assert 'id="token"' not in client.get("/team/").content.decode()
    client.cookies["shown_once"] = carried
    assert 'id="token"' in client.get("/team/").content.decode()


def test_a_token_without_a_name_is_refused(erin: User) -> None:
    answer = signed_in(erin).post("/team/tokens/", {"name": " ", "scope": "everything"})
    assert answer.status_code == 422 and not ApiToken.objects.exists()


def test_editors_see_and_revoke_their_own_and_administrators_all(
    still: Team, alice: User, erin: User, bob: User
) -> None:
    api_tokens.make(still, "of Alice", Scope.LOG, alice)
    api_tokens.make(still, "of Erin", Scope.READ, erin)
    first, second = ApiToken.objects.order_by("pk")
    page = signed_in(erin).get("/team/").content.decode()
    assert "of Erin" in page and "of Alice" not in page
    assert "of Erin" not in signed_in(bob).get("/team/").content.decode()
    assert signed_in(erin).post(f"/team/tokens/{first.pk}/revoke/").status_code == 403
    signed_in(alice).post(f"/team/tokens/{second.pk}/revoke/")
    signed_in(erin).post(f"/team/tokens/{second.pk}/revoke/")
    second.refresh_from_db()
    assert second.revoked_by == alice and second.revoked_at is not None
    assert "revoked by Alice" in signed_in(alice).get("/team/").content.decode()


def test_a_token_of_another_team_does_not_exist(still: Team, erin: User, charlie: User) -> None:
    api_tokens.make(still, "cluster", Scope.LOG, erin)
    assert (
        signed_in(charlie).post(f"/team/tokens/{ApiToken.objects.get().pk}/revoke/").status_code
        == 404
    )
    assert ApiToken.objects.get().revoked_at is None

"""A token opens one team's programs' door, as far as it may, for as long as it may; nothing else
opens it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest
from django.test import Client
from django.utils import timezone

from tests.clients.access_table import TABLE, TOKENS
from tests.webapp.conftest import member
from webapp.access import api_tokens
from webapp.access.models import ApiToken, Membership, Role, Scope, Team, User
from webapp.api.app import ROUTES
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)
http = httpx2.Client()


def log(run: str = "r", id: str = "1", **metrics: Any) -> dict[str, Any]:
    entry = {
        "project": "p",
        "run": run,
        "run_id": run,
        "metrics": metrics or {"loss": 1.0},
        "step": 0,
        "config": None,
        "log_id": id,
    }
    return {"args": [], "kwargs": {"logs": [entry]}}


def post(site: str, path: str, token: str | None, body: Any = None) -> httpx2.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return http.post(site + path, headers=headers, json=body)


@pytest.fixture
def credentials(still: Team, erin: User) -> dict[str, dict[str, str]]:
    """The headers of a request with each kind of token."""
    former_member = member("gone@still.example", "Gone", still, Role.EDITOR)
    token_by_kind = {
        "log": api_tokens.make(still, "log", Scope.LOG, erin),
        "read": api_tokens.make(still, "read", Scope.READ, erin),
        "garbage": "garbage",
        "revoked": api_tokens.make(still, "revoked", Scope.LOG, erin),
        "expired": api_tokens.make(
            still, "expired", Scope.LOG, erin, timezone.now() - timedelta(seconds=1)
        ),
        "left": api_tokens.make(still, "left", Scope.LOG, former_member),
    }
    api_tokens.revoke(ApiToken.objects.get(name="revoked"), erin)
    Membership.objects.filter(user=former_member).delete()
    browser = Client()
    browser.force_login(erin)
    headers = {name: {"Authorization": f"Bearer {token}"} for name, token in token_by_kind.items()}
    return {
        **headers,
        "missing": {},
        "session": {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"},
    }


def test_every_address_has_a_row() -> None:
    assert set(TABLE) == set(ROUTES)


def test_every_token_gets_what_the_table_says(
    site: str, credentials: dict[str, dict[str, str]]
) -> None:
    for (method, path), row in TABLE.items():
        outcomes = {
            name: outcome(http.request(method, site + path, headers=credentials[name], json={}))
            for name in TOKENS
        }
        assert outcomes == dict(zip(TOKENS, row.split(), strict=True)), (method, path)


def outcome(response: httpx2.Response) -> str:
    assert response.status_code < 500, response.text
    return {401: "door", 403: "no"}.get(response.status_code, "in")


def test_no_other_address_or_method_does_anything(site: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (
        ("GET", "/api/bulk_log"),
        ("PUT", "/api/bulk_log"),
        ("DELETE", "/version"),
        ("POST", "/api/nothing"),
    ):
        assert http.request(method, site + path, headers=headers).status_code in (404, 405), (
            method,
            path,
        )


@pytest.mark.parametrize("scheme", ["bearer", "basic", "trackio"])
def test_a_token_is_shown_in_the_ways_of_the_clients(site: str, token: str, scheme: str) -> None:
    options: dict[str, Any] = {
        "bearer": {"headers": {"Authorization": f"Bearer {token}"}},
        "basic": {"auth": ("anyone", token)},
        "trackio": {"headers": {"X-Trackio-Write-Token": token}},
    }
    assert http.post(f"{site}/api/bulk_log", json=log(), **options[scheme]).status_code == 200


def test_a_token_writes_into_its_own_team_alone_and_sees_no_other(site: str, token: str) -> None:
    other_team = Team.objects.create(name="Other", slug="other")
    charlie = member("charlie@other.example", "Charlie", other_team, Role.ADMIN)
    other_token = api_tokens.make(other_team, "theirs", Scope.LOG, charlie)
    for api_token in (token, other_token):
        assert post(site, "/api/bulk_log", api_token, log("same name")).json() == {"data": None}
        assert (
            len(
                post(
                    site, "/api/get_runs_for_project", api_token, {"kwargs": {"project": "p"}}
                ).json()["data"]
            )
            == 1
        )
    assert sorted(Run.objects.values_list("team__slug", "name")) == [
        ("other", "same name"),
        ("still", "same name"),
    ]


def test_a_revoked_token_stops_working_within_moments(site: str, token: str, erin: User) -> None:
    assert post(site, "/api/bulk_log", token, log()).status_code == 200
    api_tokens.revoke(ApiToken.objects.get(), erin)
    deadline = timezone.now() + timedelta(seconds=api_tokens.MEMORY_SECONDS + 120)
    while post(site, "/api/bulk_log", token, log()).status_code == 200:
        assert timezone.now() < deadline


def test_only_a_digest_is_kept_and_the_use_is_noted(site: str, token: str) -> None:
    assert post(site, "/api/bulk_log", token, log()).status_code == 200
    row = ApiToken.objects.get()
    assert token not in str(vars(row)) and row.last_used_at is not None


def test_a_host_that_is_not_ours_is_refused(site: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Host": "evil.example"}
    assert http.post(f"{site}/api/bulk_log", headers=headers, json=log()).status_code == 400


def test_whoever_guesses_tokens_must_wait_and_shuts_nobody_out(
    site: str, token: str, still: Team, erin: User
) -> None:
    """Neither others, nor those behind the same address whose token has worked; who goes on with a
    revoked token is no guesser.
    """
    spare = api_tokens.make(still, "spare", Scope.READ, erin)

    def ask(token: str, *forwarded: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": ", ".join(forwarded)}
        return http.post(
            f"{site}/api/get_runs_for_project", headers=headers, json={"kwargs": {"project": "p"}}
        )

    assert ask(token, "203.0.113.9").status_code == 200
    assert {ask("revoked", "203.0.113.9").status_code for _ in range(60)} == {401}
    answers = [
        ask(f"guess {number}", f"198.51.100.{number}", "203.0.113.9") for number in range(60)
    ]
    assert answers[0].status_code == 401 and answers[-1].status_code == 429
    assert (
        int(answers[-1].headers["Retry-After"]) > 60
        and "wrong API tokens" in answers[-1].json()["error"]
    )
    assert (ask(token, "203.0.113.9").status_code, ask(spare, "203.0.113.9").status_code) == (
        200,
        429,
    )
    assert ask(spare, "203.0.113.10").status_code == 200

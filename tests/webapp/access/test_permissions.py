"""Who sees and may do what: one decision for pages, sockets and files."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.utils import timezone

from webapp.access import actors, permissions
from webapp.access.actors import Actor
from webapp.access.models import Membership, Role, Team, User
from webapp.access.permissions import ALLOWED, Action
from webapp.runs.models import Event, Run
from webapp.sharing import links
from webapp.sharing.models import ShareLink

pytestmark = pytest.mark.django_db

ACTIONS: tuple[Action, ...] = ("view", "download", "edit", "start", "stop", "share", "admin")


def actor(client: Client) -> Actor:
    return actors.actor_of_session(client.session, None)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def guest(run: Run, alice: User) -> Client:
    client = Client()
    client.get(f"/s/{links.share(run, alice, timedelta(days=1))}/")
    return client


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", ACTIONS)
def test_a_role_allows_what_the_table_says(
    role: Role, action: Action, run: Run, still: Team, charlie: User
) -> None:
    Membership.objects.create(team=still, user=charlie, role=role)
    asker = actor(signed_in(charlie))
    assert (
        permissions.may(asker, action, run)
        == permissions.may(asker, action, still)
        == (action in ALLOWED[role])
    )


def test_a_viewer_sees_but_may_not_start(run: Run, bob: User) -> None:
    asker = actor(signed_in(bob))
    assert permissions.find(asker, "view", Run, pk=run.pk) == run
    with pytest.raises(PermissionDenied, match="Your role"):
        permissions.require(asker, "start", run)


def test_for_a_stranger_the_run_does_not_exist(run: Run, charlie: User) -> None:
    asker = actor(signed_in(charlie))
    assert not permissions.visible(asker, Run).exists()
    for action in ACTIONS:
        with pytest.raises(Http404):
            permissions.require(asker, action, run)


def test_a_guest_sees_that_run_and_nothing_beside_it(run: Run, still: Team, guest: Client) -> None:
    sibling = Run.objects.create(team=still, name="sibling")
    for recorded_run in (run, sibling):
        Event.objects.create(
            run=recorded_run,
            attempt=1,
            seq=1,
            type="log",
            wall_time=timezone.now(),
            payload={},
            batch_number=1,
        )
    asker = actor(guest)
    assert list(permissions.visible(asker, Run)) == [run]
    assert list(permissions.visible(asker, Event)) == list(run.events.all())
    assert [action for action in ACTIONS if permissions.may(asker, action, run)] == ["view"]
    assert not any(
        permissions.visible(asker, model).exists() for model in (Team, Membership, ShareLink)
    )
    with pytest.raises(PermissionDenied, match="only shows the run"):
        permissions.require(asker, "stop", run)


def test_a_revoked_or_expired_link_shows_nothing(run: Run, guest: Client) -> None:
    ShareLink.objects.update(expires_at=timezone.now())
    assert actor(guest).is_anonymous
    ShareLink.objects.update(
        expires_at=timezone.now() + timedelta(days=1), revoked_at=timezone.now()
    )
    assert actor(guest).is_anonymous


def test_somebody_signed_in_also_sees_what_was_shared_with_them(
    run: Run, alice: User, charlie: User
) -> None:
    client = signed_in(charlie)
    client.get(f"/s/{links.share(run, alice, timedelta(days=1))}/")
    asker = actor(client)
    assert permissions.may(asker, "view", run)
    assert not permissions.may(asker, "download", run)


def test_a_removed_member_loses_access_at_once(run: Run, bob: User) -> None:
    client = signed_in(bob)
    assert permissions.may(actor(client), "view", run)
    Membership.objects.filter(user=bob).delete()
    assert not permissions.may(actor(client), "view", run)


def test_an_inactive_account_has_no_access(run: Run, alice: User) -> None:
    client = signed_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert actor(client).is_anonymous


def test_a_member_of_two_teams_can_open_both_and_sees_one(alice: User, still: Team) -> None:
    second = Team.objects.create(name="Zymurgy", slug="zymurgy")
    Membership.objects.create(team=second, user=alice, role=Role.VIEWER)
    client = signed_in(alice)
    assert actor(client).team == still
    client.post("/teams/zymurgy/switch/")
    assert actor(client).team == second
    assert set(permissions.visible(actor(client), Team)) == {still, second}

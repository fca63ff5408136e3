"""The team page: members, roles and invitations."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from tests.webapp.locks import wait_for_lock
from webapp.access import members, one_time_links
from webapp.access.models import Invitation, Membership, Role, Team, User

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def role_of(user: User, team: Team) -> str | None:
    return Membership.objects.filter(user=user, team=team).values_list("role", flat=True).first()


def membership(user: User) -> int:
    return Membership.objects.get(user=user).pk


def test_members_see_the_list_of_members(alice: User, bob: User, charlie: User) -> None:
    page = signed_in(bob).get("/team/").content.decode()
    assert alice.email in page
    assert charlie.email not in page
    assert "Create a link" not in page


def test_an_invitation_is_shown_once_and_creates_an_account(alice: User, still: Team) -> None:
    admin, newcomer = signed_in(alice), Client()
    page = admin.post("/team/invite/", {"role": "editor"}, follow=True).content.decode()
    address = re.search(r"http://testserver(/invitations/[^/]+/)", page)
    assert address is not None
    assert address[1] not in admin.get("/team/").content.decode()
    assert "Still" in newcomer.get(address[1]).content.decode()
    newcomer.post(
        address[1],
        {"name": "Dora", "email": "Dora@still.example", "password": "a long enough phrase"},
    )
    dora = User.objects.get(email="dora@still.example")
    assert role_of(dora, still) == Role.EDITOR
    assert newcomer.get("/team/").status_code == 200
    assert "used already" in Client().get(address[1]).content.decode()


def test_an_invitation_also_works_for_an_existing_account(
    alice: User, still: Team, charlie: User
) -> None:
    address = f"/invitations/{one_time_links.invite(still, Role.VIEWER, alice)}/"
    guest = signed_in(charlie)
    guest.post(address)
    assert role_of(charlie, still) == Role.VIEWER


def test_an_invitation_does_not_change_the_role_of_a_member(alice: User, still: Team) -> None:
    signed_in(alice).post(f"/invitations/{one_time_links.invite(still, Role.VIEWER, alice)}/")
    assert role_of(alice, still) == Role.ADMIN


def test_nobody_joins_under_an_address_that_has_an_account(
    alice: User, bob: User, still: Team
) -> None:
    address = f"/invitations/{one_time_links.invite(still, Role.ADMIN, alice)}/"
    answer = Client().post(
        address, {"name": "Bob?", "email": bob.email, "password": "a long enough phrase"}
    )
    assert "Sign in first" in answer.content.decode()
    assert role_of(bob, still) == Role.VIEWER


def test_a_revoked_or_expired_invitation_adds_nobody(
    alice: User, still: Team, charlie: User
) -> None:
    withdrawn, old = (
        f"/invitations/{one_time_links.invite(still, Role.ADMIN, alice)}/" for _ in range(2)
    )
    first, second = Invitation.objects.order_by("pk")
    signed_in(alice).post(f"/team/invitations/{first.pk}/withdraw/")
    Invitation.objects.filter(pk=second.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    for address in (withdrawn, old):
        assert signed_in(charlie).post(address).status_code == 410
    assert role_of(charlie, still) is None


def test_an_admin_changes_roles(alice: User, bob: User, still: Team) -> None:
    signed_in(alice).post(f"/team/members/{membership(bob)}/role/", {"role": "editor"})
    assert role_of(bob, still) == Role.EDITOR
    signed_in(alice).post(f"/team/members/{membership(bob)}/role/", {"role": "emperor"})
    assert role_of(bob, still) == Role.EDITOR


def test_an_editor_cannot_change_roles(erin: User, bob: User, still: Team) -> None:
    client = signed_in(erin)
    for action, data in (("role", {"role": "admin"}), ("remove", {})):
        assert client.post(f"/team/members/{membership(bob)}/{action}/", data).status_code == 403
    assert client.post("/team/invite/", {"role": "admin"}).status_code == 403
    assert role_of(bob, still) == Role.VIEWER


def test_every_member_can_leave(bob: User, still: Team) -> None:
    client = signed_in(bob)
    client.post(f"/team/members/{membership(bob)}/remove/")
    assert role_of(bob, still) is None
    assert client.get("/team/").status_code == 404


@pytest.mark.parametrize(("action", "data"), [("remove", {}), ("role", {"role": "viewer"})])
def test_the_last_admin_cannot_leave(
    alice: User, erin: User, still: Team, action: str, data: dict[str, str]
) -> None:
    answer = signed_in(alice).post(
        f"/team/members/{membership(alice)}/{action}/", data, follow=True
    )
    assert "A team needs an administrator" in answer.content.decode()
    assert role_of(alice, still) == Role.ADMIN


def test_one_of_two_admins_can_leave(alice: User, erin: User, still: Team) -> None:
    Membership.objects.filter(user=erin).update(role=Role.ADMIN)
    signed_in(alice).post(f"/team/members/{membership(alice)}/remove/")
    assert role_of(alice, still) is None


def test_a_user_cannot_switch_to_a_team_of_others(alice: User, charlie: User) -> None:
    assert signed_in(alice).post("/teams/other/switch/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_two_teams_of_one_name_that_are_created_at_once_get_two_slugs(alice: User) -> None:
    def create() -> str:
        slug = members.create_team("Cellar", alice).slug
        connection.close()
        return slug

    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            first = members.create_team("Cellar", alice)
            second = pool.submit(create)
            wait_for_lock(second)
        assert (first.slug, second.result()) == ("cellar", "cellar-2")

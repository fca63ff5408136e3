"""Links that show one run to a guest."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from webapp.access.models import Team, User
from webapp.runs.models import Run
from webapp.sharing.models import ShareLink

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make_link(client: Client, run: Run) -> str:
    page = client.post(f"/runs/{run.public_id}/share/", {"days": "7"}, follow=True).content.decode()
    match = re.search(r"http://testserver(/s/[^/]+/)", page)
    assert match is not None
    return match[1]


def test_a_link_is_shown_once_and_opens_the_run_and_nothing_else(
    run: Run, still: Team, erin: User
) -> None:
    editor, guest = signed_in(erin), Client()
    sibling = Run.objects.create(team=still, name="sibling")
    address = make_link(editor, run)
    assert address not in editor.get(f"/runs/{run.public_id}/share/").content.decode()
    page = guest.get(address, follow=True)
    assert page.status_code == 200
    assert run.name in page.content.decode()
    assert guest.get(f"/runs/{sibling.public_id}/").status_code == 404
    for closed in ("/", "/team/", "/runs/new/", f"/runs/{run.public_id}/share/"):
        assert guest.get(closed).status_code == 302, closed


def test_a_revoked_link_shows_nothing_to_guests_who_opened_it(run: Run, erin: User) -> None:
    editor, guest = signed_in(erin), Client()
    address = make_link(editor, run)
    guest.get(address)
    editor.post(f"/runs/{run.public_id}/share/{ShareLink.objects.get().pk}/revoke/")
    assert guest.get(f"/runs/{run.public_id}/").status_code == 302
    assert guest.get(address).status_code == 410


def test_a_viewer_cannot_create_links(run: Run, bob: User) -> None:
    assert signed_in(bob).post(f"/runs/{run.public_id}/share/", {"days": "7"}).status_code == 403
    assert not ShareLink.objects.exists()


@pytest.mark.parametrize("days", ["", "100000", "-1", "a"])
def test_a_link_has_one_of_the_offered_lifetimes(run: Run, erin: User, days: str) -> None:
    signed_in(erin).post(f"/runs/{run.public_id}/share/", {"days": days})
    assert not ShareLink.objects.exists()

"""Signing in, inviting, joining and sharing in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.recorded import SPEC, Recorder
from webapp.access import one_time_links
from webapp.access.models import Team, User
from webapp.runs import lifecycle

OpenPage = Callable[..., Page]


def test_the_first_link_signs_in_and_is_then_spent(open_page: OpenPage, alice: User) -> None:
    address = f"/sign-in/{one_time_links.make_sign_in_link(alice)}/"
    page = open_page()
    page.goto(address)
    expect(page.locator("main button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_somebody_is_invited_and_joins_with_a_new_account(open_page: OpenPage, page: Page) -> None:
    page.goto("/team/")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Create a link").click()
    address = page.get_by_label("Invitation link", exact=True).input_value()
    newcomer = open_page()
    newcomer.goto(address)
    newcomer.get_by_label("Name").fill("Bob")
    newcomer.get_by_label("Email").fill("bob@still.example")
    newcomer.get_by_label("Password").fill("a long enough phrase")
    newcomer.get_by_role("button", name="Join").click()
    expect(newcomer.get_by_text("Welcome to Still.")).to_be_visible()
    page.goto("/team/")
    expect(page.get_by_role("cell", name="bob@still.example")).to_be_visible()


def test_a_guest_watches_a_shared_run_until_the_link_is_withdrawn(
    open_page: OpenPage, page: Page, still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    page.goto(f"/runs/{recorder.run.public_id}/share/")
    page.get_by_role("button", name="Create a link").click()
    guest = open_page()
    guest.goto(page.get_by_label("Link", exact=True).input_value())
    recorder.train(1, 20)
    expect(guest.locator("#run-head [data-live=step]")).to_have_text("20")
    expect(guest.get_by_role("button", name="Stop")).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Link revoked.")).to_be_visible()
    guest.reload()
    expect(guest.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_these_pages_are_accessible_and_fit(
    open_page: OpenPage,
    still: Team,
    alice: User,
    bob: User,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    run = lifecycle.create_run(still, alice, SPEC)
    inside, outside = open_page(alice, viewport, dark), open_page(None, viewport, dark)
    inside.goto("/team/")
    inside.get_by_role("button", name="Create a link").click()
    visits = [(inside, path) for path in ("", "/account/", f"/runs/{run.public_id}/share/")]
    tokens = (
        one_time_links.make_sign_in_link(alice),
        one_time_links.invite(still, "viewer", alice),
    )
    visits += [
        (outside, path)
        for path in ("/sign-in/", f"/sign-in/{tokens[0]}/", f"/invitations/{tokens[1]}/")
    ]
    for page, path in visits:
        if path:
            page.goto(path)
        assert axe_violations(page) == [], path
        assert not has_sideways_scroll(page), path

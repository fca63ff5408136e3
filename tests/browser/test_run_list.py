"""The list of runs in a browser: live rows, search and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.nodes import ordering
from webapp.runs import lifecycle


def test_a_run_appears_and_progresses_without_a_reload(
    page: Page, still: Team, alice: User, tmp_path: Path
) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    row = page.locator("tbody tr")
    expect(row.locator(".badge.running")).to_be_visible()
    recorder.train(1, 20)
    expect(row.locator("[data-live=step]")).to_have_text("20")
    expect(row.locator("[data-live=pass_rate]")).to_have_text("44.0 %")
    expect(row.locator("[data-live=difference]")).to_have_text("+4.0")
    expect(row.locator(".sparkline")).to_be_attached()


def test_a_run_can_be_searched_and_opened_by_keyboard(page: Page, still: Team, alice: User) -> None:
    uniform, _ = (
        lifecycle.create_run(still, alice, {**SPEC, "name": name})
        for name in ("uniform", "hard filter")
    )
    page.goto("/")
    ordering.hold(uniform, alice)
    expect(page.get_by_role("row", name="uniform").locator(".badge.queued")).to_have_text("held")
    page.get_by_label("Find").fill("filter")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="hard filter").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="hard filter")).to_be_visible()


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_the_list_is_accessible_and_fits_the_screen(
    open_page: Callable[..., Page],
    still: Team,
    alice: User,
    tmp_path: Path,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    recorded(still, alice, tmp_path)
    page = open_page(alice, viewport, dark)
    page.goto("/")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert axe_violations(page) == []
    assert not has_sideways_scroll(page)

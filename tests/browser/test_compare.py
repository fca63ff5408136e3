"""Comparing runs in a browser: charts, verdict, saving, sharing, on a phone and in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.compared import compared, definition, solved
from tests.webapp.panel_events import calibration
from webapp.access.models import Team, User
from webapp.runs.models import Run


@pytest.fixture
def runs(still: Team, alice: User, tmp_path: Path) -> list[Run]:
    """Two settings over three seeds each; the second solves more for every seed."""
    return [
        compared(
            still,
            alice,
            tmp_path / f"{alpha}-{seed}",
            solved(rate, problems=100, seed=seed),
            definition(seed, alpha),
            f"alpha {alpha:g}",
            steps=12,
            extra=[calibration(60, "after")] if seed == 1 else [],
        )
        for alpha, rate in ((1.0, 0.3), (2.0, 0.7))
        for seed in (1, 2, 3)
    ]


def url_of(runs: list[Run]) -> str:
    return f"/compare/?runs={','.join(run.public_id for run in runs)}"


def test_groups_are_compared_saved_shared_and_opened_without_an_account(
    page: Page, open_page: Callable[..., Page], runs: list[Run]
) -> None:
    page.goto(url_of(runs))
    verdict = page.get_by_role("row", name="alpha 2").locator(".badge")
    expect(verdict).to_have_text("higher")
    expect(page.locator(".statements")).to_contain_text("alpha 2 against alpha 1: Higher by")
    expect(page.locator(".statements")).to_contain_text("over 3 shared seeds")
    expect(page.get_by_role("row", name="pool.weighting.alpha")).to_contain_text("2.0")
    expect(page.locator("#chart-compared-0 [data-count]")).to_have_text("72 points")
    page.locator("[data-axis]").select_option("tokens")
    expect(page).to_have_url(re.compile("axis=tokens"))

    page.get_by_label("Name of the comparison").fill("Does a larger alpha help?")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Does a larger alpha help?")
    page.get_by_role("link", name="Share").click()
    page.get_by_role("button", name="Create a link").click()
    link = page.locator("#link").input_value()

    guest = open_page()
    guest.goto(link)
    expect(guest.get_by_role("row", name="alpha 2").locator(".badge")).to_have_text("higher")
    expect(guest.locator("#chart-compared-0 [data-count]")).to_have_text("72 points")
    expect(guest.locator("main a[href^='/runs/']")).to_have_count(0)


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_the_page_is_accessible_and_fits(
    open_page: Callable[..., Page],
    axe_violations: Callable[[Page], list[str]],
    alice: User,
    runs: list[Run],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    page = open_page(alice, viewport, dark)
    page.goto(url_of(runs) + "&by=runs&settings=all")
    expect(page.locator("#chart-compared-0 [data-count]")).to_have_text("72 points")
    assert axe_violations(page) == []
    assert not has_sideways_scroll(page)

"""Comparing runs in a browser: charts, verdict, saving, sharing, on a phone and in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.compared import compared, completed, definition, solved
from tests.webapp.panel_events import calibration
from webapp.access.models import Team, User
from webapp.comparisons import saving
from webapp.comparisons.choices import Choices
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


def test_a_recipe_is_launched_over_two_seeds_compared_shared_and_opened_without_an_account(
    page: Page, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page.goto("/runs/new/?recipe=paced&preset=small")
    page.get_by_label("Seeds", exact=True).fill("2")
    page.get_by_text("Settings that vary").click()
    page.get_by_label("Setting 1", exact=True).fill("pool.weighting.alpha")
    with page.expect_response("**/runs/new/check/"):
        page.locator("#vary-0-values").fill("1, 3")
    expect(page.locator("#check")).to_contain_text("4 runs: 2 arms with 2 seeds each.")
    page.get_by_role("button", name="Start 4 runs").click()
    expect(page.get_by_role("status").get_by_text("0 of 4 runs have ended")).to_be_visible()
    for run in Run.objects.order_by("pk"):
        assert run.spec is not None
        rate = 0.3 if run.spec["pool"]["weighting"]["alpha"] == 1 else 0.7
        completed(run, tmp_path / run.public_id, solved(rate, seed=run.spec["seed"]))
    expect(page.get_by_text("4 of 4 runs have ended: 4 completed.")).to_be_visible()
    page.get_by_role("link", name="Compare the runs").click()
    statement = "No verdict on settings: the sides share 2 seeds; 3 seeds a side are needed."
    expect(page.locator(".statements")).to_contain_text(statement)
    page.locator("summary", has_text="Share").click()
    page.get_by_role("button", name="Save and create a link").click()
    expect(page.get_by_text("which the link shows")).to_be_visible()
    link = page.locator("#link").input_value()
    guest = open_page()
    guest.goto(link)
    expect(guest.locator(".statements")).to_contain_text(statement)
    expect(guest.locator("#chart-compared-0 [data-count]")).to_have_text("12 points")
    expect(guest.locator("#chart-compared-0 .legend .name").first).to_contain_text("mean of 2")
    page.get_by_role("button", name="Revoke").click()
    guest.reload()
    expect(guest).to_have_url(re.compile("/sign-in/"))


def test_ranges_on_axes_are_marked_by_keys_and_pointer_and_are_in_the_address(
    page: Page, runs: list[Run]
) -> None:
    page.goto(url_of(runs))
    section = page.locator("#coordinates")
    count, handles = section.locator("[data-count]"), section.locator(".handle")
    axes = section.locator(".axis-list .mono")
    expect(count).to_have_text("6 runs")
    expect(axes).to_have_text(["pool.weighting.alpha", "loss", "eval/pass_rate"])
    upper = section.get_by_role("slider", name="pool.weighting.alpha, upper end of the range")
    upper.press("ArrowDown")
    expect(count).to_have_text("3 of 6 runs in the ranges")
    expect(upper).to_have_attribute("aria-valuetext", "1.98")
    expect(section.locator(".run-line.outside")).to_have_count(3)
    expect(page).to_have_url(re.compile("ranges=%3A1.98%3Asetting%3Apool.weighting.alpha"))
    section.get_by_role("button", name="Move pool.weighting.alpha right").press("Enter")
    expect(axes).to_have_text(["loss", "pool.weighting.alpha", "eval/pass_rate"])
    page.reload()
    expect(axes).to_have_text(["loss", "pool.weighting.alpha", "eval/pass_rate"])
    expect(count).to_have_text("3 of 6 runs in the ranges")
    section.get_by_role("button", name="Settings and results as a table").click()
    expect(section.locator("tbody tr")).to_have_count(3)
    handles.first.press("Escape")
    section.get_by_role("button", name="Clear the ranges").click()
    expect(count).to_have_text("6 runs")
    # The upper half of the results.
    strip = section.locator(".strip").nth(2)
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    expect(count).to_have_text("3 of 6 runs in the ranges")
    expect(section.locator("tbody th")).to_contain_text(["alpha 2"] * 3)
    page.mouse.click(x, box["y"] + 5)
    expect(count).to_have_text("6 runs")
    section.get_by_role("button", name="Remove loss").click()
    expect(axes).to_have_text(["pool.weighting.alpha", "eval/pass_rate"])
    section.get_by_label("Axis", exact=True).select_option("setting:seed")
    section.get_by_role("button", name="Add").click()
    expect(axes).to_have_text(["pool.weighting.alpha", "seed", "eval/pass_rate"])


def test_lines_are_hidden_in_the_legend_and_changes_of_a_saved_comparison_are_saved(
    page: Page, still: Team, alice: User, runs: list[Run]
) -> None:
    saved = saving.save(still, alice, "alpha", runs, Choices())
    page.goto(f"/compare/{saved.public_id}/")
    legend = page.locator("#chart-compared-1 .legend")
    name = legend.get_by_role("button", name="alpha 1: mean of 3, 95 %")
    expect(name).to_have_attribute("aria-pressed", "true")
    page.locator("#chart-compared-0 .legend button").first.click()
    expect(name).to_have_attribute("aria-pressed", "false")
    name.click(modifiers=["Shift"])
    expect(legend.locator("[aria-pressed=true]")).to_have_count(1)

    changed = page.locator(".page-head .badge")
    expect(changed).to_be_visible()
    name.click(modifiers=["Shift"])
    expect(changed).to_be_hidden()
    page.locator("[data-axis]").select_option("tokens")
    expect(changed).to_be_visible()
    page.locator("[data-axis]").select_option("step")
    expect(changed).to_be_hidden()
    page.locator("[data-axis]").select_option("tokens")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("Changes saved.")).to_be_visible()
    expect(page.locator("[data-axis]")).to_have_value("tokens")
    expect(changed).to_be_hidden()


def test_what_is_hidden_smoothed_and_zoomed_is_in_the_address_and_in_a_saved_comparison(
    page: Page, open_page: Callable[..., Page], still: Team, alice: User, runs: list[Run]
) -> None:
    saved = saving.save(still, alice, "alpha", runs, Choices())
    page.goto(f"/compare/{saved.public_id}/")
    page.locator("#chart-compared-0 .legend button").first.click()
    page.locator("[data-smoothing]").select_option("strong")
    plot = page.locator("#chart-compared-1 .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, middle, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"smoothing=0.9.*zoom=\d.*"))
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("Changes saved.")).to_be_visible()

    again = open_page(alice)
    for address in (page.url, f"/compare/{saved.public_id}/"):
        again.goto(address)
        expect(again.locator("[data-smoothing]")).to_have_value("0.9")
        expect(again.locator("[data-zoom-out]")).to_be_visible()
        pressed = again.locator("#chart-compared-1 .legend [aria-pressed=true]")
        expect(pressed).to_have_count(1)
    expect(again.locator(".page-head .badge")).to_be_hidden()
    again.locator("[data-zoom-out]").click()
    expect(again.locator(".page-head .badge")).to_be_visible()

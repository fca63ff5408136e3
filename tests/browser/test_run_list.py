"""The list of runs in a browser: live rows, search and keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.nodes import ordering
from webapp.runs import lifecycle, run_values


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


def test_a_run_is_found_by_a_setting_among_many_and_the_view_is_saved(
    page: Page, still: Team, alice: User
) -> None:
    for index in range(60):
        optimiser = {"learning_rate": (index + 1) / 10_000}
        lr = {"stages": [{"optimiser": optimiser, "until": {"steps": 9}}]}
        run = lifecycle.create_run(still, alice, {**SPEC, **lr, "name": f"run {index:02d}"})
        run_values.write_figures(run, {"loss": 1 / (index + 1)})
    page.goto("/")
    find = page.get_by_role("combobox", name="Find")
    find.press_sequentially("learning_ra")
    option = page.get_by_role("option", name="stages.0.optimiser.learning_rate")
    expect(option).to_be_visible()
    find.press("ArrowDown")
    find.press("Enter")
    expect(find).to_have_value("stages.0.optimiser.learning_rate")
    find.press_sequentially("<=3e-4")
    find.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Add a figure or setting").fill("loss")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("link", name="loss").click()
    expect(page.locator("tbody th")).to_contain_text(["run 00", "run 01", "run 02"])
    page.locator("summary", has_text="Views").click()
    page.get_by_label("Save what is shown as").fill("Small steps")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved the view")
    page.goto("/")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.locator("summary", has_text="Views").click()
    page.get_by_role("link", name="Small steps").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.get_by_role("columnheader", name="loss")).to_have_attribute(
        "aria-sort", "descending"
    )


def test_rows_are_selected_by_keys_and_with_shift(page: Page, still: Team, alice: User) -> None:
    runs = [
        lifecycle.create_run(still, alice, {**SPEC, "name": f"run {index}"}) for index in range(4)
    ]
    page.goto("/")
    compare = page.locator("#selection [data-compare]")
    expect(compare).to_be_hidden()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="run 3")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_label("Select run 0").click(modifiers=["Shift"])
    expect(page.locator("[data-selected]")).to_have_text("3 selected")
    # The rows are replaced: the selection stays.
    ordering.hold(runs[3], alice)
    expect(page.get_by_role("row", name="run 3").locator(".badge.queued")).to_have_text("held")
    ids = ",".join(run.public_id for run in reversed(runs[:3]))
    expect(compare).to_have_attribute("href", f"/compare/?runs={ids}")
    page.get_by_role("button", name="Clear selection").click()
    expect(compare).to_be_hidden()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/runs/"))


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

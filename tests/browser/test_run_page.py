"""The pages of a run in a browser: live curves, actions, rollouts, keyboard, phone and guest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.runs import lifecycle
from webapp.runs.models import Run, State

TABS = ("", "frontier/", "rollouts/", "log/", "config/", "checkpoints/")


@pytest.fixture
def recorder(still: Team, alice: User, tmp_path: Path) -> Recorder:
    """A run before its first step."""
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    return recorder


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def url_of(run: Run, tab: str = "") -> str:
    return f"/runs/{run.public_id}/{tab}"


def expect_points(page: Page, chart: str, text: str) -> None:
    """Wait until the chart says how many points it draws, such as "60 points"."""
    expect(page.locator(f"#chart-{chart} [data-count]")).to_have_text(text)


def test_curves_grow_while_the_run_trains(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run))
    expect(page.locator("#chart-loss")).to_contain_text("Appears with the first training step.")
    recorder.train(1, 10)
    expect_points(page, "loss", "10 points")
    recorder.train(11, 25)
    expect_points(page, "loss", "25 points")
    expect(page.locator("#run-head [data-live=step]")).to_have_text("25")
    expect(page.locator("#evaluation-tables")).to_contain_text("44.0 %")
    expect(page.locator("#chart-loss .legend b")).to_have_text("0.400")


def test_lost_connections_neither_lose_nor_repeat_points(page: Page, recorder: Recorder) -> None:
    routes: list[WebSocketRoute] = []
    answered: list[WebSocketRoute] = []

    def forward(route: WebSocketRoute) -> None:
        def pass_on(message: str | bytes) -> None:
            answered.append(route)
            route.send(message)

        routes.append(route)
        route.connect_to_server().on_message(pass_on)

    page.route_web_socket("**/live/", forward)
    page.goto(url_of(recorder.run))
    for first in range(1, 41, 10):
        recorder.train(first, first + 9)
        expect_points(page, "loss", f"{first + 9} points")
        # The points may have come without it; the browser warns of a connection that is cut before
        # it is established.
        while routes[-1] not in answered:
            page.wait_for_timeout(50)
        routes[-1].close()
    recorder.train(41, 60)
    expect_points(page, "loss", "60 points")
    assert len(routes) > 4


def test_a_resumed_run_shows_one_curve(page: Page, recorder: Recorder, tmp_path: Path) -> None:
    recorder.train(1, 30)
    recorder.checkpoint(30)
    recorder.train(31, 37)
    page.goto(url_of(recorder.run))
    expect_points(page, "loss", "37 points")
    recorder.end("failed", "The trainer was killed.", "Resume it.")
    expect(page.get_by_role("alert")).to_contain_text("The trainer was killed.")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".badge.queued")).to_be_visible()
    recorder.run.refresh_from_db()
    resumed = Recorder(recorder.run, tmp_path / "again", recorder.clock)
    resumed.send([{"type": "rewind", "step": 30}])
    resumed.train(31, 33)
    expect_points(page, "loss", "33 points")
    expect(page.locator("#run-head")).to_contain_text("attempt 2")


def test_the_first_stop_is_cooperative_and_the_second_is_forced(
    page: Page, recorder: Recorder
) -> None:
    page.goto(url_of(recorder.run))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#run-head")).to_contain_text("writes a checkpoint after the current step")
    page.get_by_role("button", name="Stop at once").click()
    recorder.run.refresh_from_db()
    assert recorder.run.force_requested_at is not None
    recorder.end(State.STOPPED, "Stopped on request.")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_viewer_sees_no_buttons_for_actions(
    open_page: Callable[..., Page], bob: User, recorder: Recorder
) -> None:
    page = open_page(bob)
    page.goto(url_of(recorder.run))
    expect(page.get_by_role("heading", name="paced on arithmetic")).to_be_visible()
    for name in ("Stop", "Share", "Clone", "More"):
        expect(page.locator("#run-head").get_by_text(name, exact=True)).to_have_count(0)


def test_a_silent_run_has_a_badge(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run))
    expect(page.locator("#run-head [data-silent]")).to_be_visible()


def test_the_keyboard_moves_the_cursor_of_a_chart_and_reads_its_values(
    page: Page, finished: Run
) -> None:
    page.goto(url_of(finished))
    expect_points(page, "loss", "60 points")
    chart = page.locator("#chart-loss .plot")
    chart.focus()
    page.keyboard.press("Home")
    expect(page.locator("#chart-loss [data-spoken]")).to_have_text("At 1: loss 2.00")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#chart-loss [data-spoken]")).to_have_text("At 4: loss 1.00, falling")
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Reset zoom")).to_be_hidden()


def test_dragging_across_a_chart_zooms_every_chart(page: Page, finished: Run) -> None:
    page.goto(url_of(finished))
    expect_points(page, "loss", "60 points")
    box = page.locator("#chart-pass-rate .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=5)
    page.mouse.up()
    expect(page.locator("#chart-loss [data-count]")).to_have_text(re.compile(r"1[4-7] points"))
    page.get_by_role("button", name="Reset zoom").click()
    expect_points(page, "loss", "60 points")


def test_a_chart_has_a_table_and_other_axes(page: Page, finished: Run) -> None:
    page.goto(url_of(finished))
    expect_points(page, "pass-rate", "8 points")
    page.get_by_role("button", name="Pass rate as a table").click()
    table = page.get_by_role("region", name="Pass rate as a table")
    expect(table.get_by_role("row", name="0 40.0 % (36.0 % to 44.0 %)")).to_be_visible()
    for axis, last_x in (("tokens", "28,800"), ("time", None), ("compute", "60,000,000,000")):
        page.get_by_label("x axis").select_option(axis)
        expect(table.locator("thead th").first).to_have_text(axis)
        if last_x:
            expect(table.locator("tbody tr").last.locator("td").first).to_have_text(last_x)
    page.get_by_label("smoothing").select_option("0.9")
    expect_points(page, "pass-rate", "8 points")


def test_the_heat_map_can_be_read_by_keyboard(page: Page, finished: Run) -> None:
    page.goto(url_of(finished, "frontier/"))
    heat = page.locator("[data-heat] svg")
    expect(heat).to_be_visible()
    assert heat.locator(".cell").count() > 20
    expect(heat.locator(".weight")).to_be_attached()
    heat.focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".heat-read")).to_contain_text("Step 60, pass rate 12.5 %")
    page.locator("summary", has_text="Show shares as a table").click()
    expect(page.locator("[data-heat-table] tbody tr")).to_have_count(7)


def test_the_frontier_updates_while_the_run_trains(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run, "frontier/"))
    expect(page.locator("[data-heat-table] tbody tr")).to_have_count(1)
    recorder.train(1, 20)
    expect(page.locator("[data-heat-table] tbody tr")).to_have_count(3)


def test_new_rollouts_appear_and_can_be_read_token_by_token(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run, "rollouts/"))
    expect(page.get_by_role("heading", name="No rollouts yet")).to_be_visible()
    recorder.train(1, 10)
    page.locator("tr", has_text="p01").locator(".excerpt a").first.click()
    tokens = page.locator(".reader [data-tokens]").first.locator(".tok")
    expect(tokens.nth(2)).to_have_class("tok s6 other")
    low_colour, high_colour = (
        tokens.nth(i).evaluate("token => getComputedStyle(token).backgroundColor") for i in (0, 2)
    )
    assert low_colour != high_colour
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    detail = page.locator("[data-token-detail]")
    expect(detail).to_contain_text("2.50")
    expect(detail).to_contain_text('" 2"')
    expect(page.locator(".reader [data-tokens]").nth(1).locator(".tok.is-here")).to_have_text(" 2")
    expect(page.get_by_role("heading", name="The teacher's own answer")).to_be_visible()


def test_a_guest_follows_the_shared_run_and_nothing_else(
    open_page: Callable[..., Page], alice: User, recorder: Recorder
) -> None:
    page = open_page(alice)
    page.goto(url_of(recorder.run))
    page.get_by_role("link", name="Share").click()
    page.get_by_role("button", name="Create a link").click()
    url = page.get_by_label("Link", exact=True).input_value()
    guest = open_page()
    guest.goto(url)
    expect(guest.get_by_role("heading", name="paced on arithmetic")).to_be_visible()
    recorder.train(1, 10)
    expect_points(guest, "loss", "10 points")
    expect(guest.locator("#run-head button")).to_have_count(0)
    expect(guest.get_by_role("navigation", name="Main")).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    recorder.train(11, 12)
    expect(guest.locator("[data-status]")).to_have_text(
        "This run is not shown to you, or not any more."
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_every_tab_is_accessible_and_fits_the_screen(
    open_page: Callable[..., Page],
    alice: User,
    finished: Run,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    page = open_page(alice, viewport, dark)
    row = finished.rollouts.filter(problem="p01").first()
    assert row is not None
    for tab in (*TABS, f"rollouts/{row.attempt}/{row.seq}/{row.offset}/"):
        page.goto(url_of(finished, tab))
        page.wait_for_load_state("networkidle")
        assert axe_violations(page) == [], tab
        assert not has_sideways_scroll(page), tab

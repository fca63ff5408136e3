"""The panels of a run in a browser: live updates, the step scrubber and its URL."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.panel_events import ALL_PANELS, calibration, send_panels
from tests.webapp.recorded import SPEC, Recorder
from webapp.access.models import Team, User
from webapp.runs import lifecycle
from webapp.runs.models import Run

PANELS = ("calibration/", "tokens/", "privileged/")


@pytest.fixture
def recorder(still: Team, alice: User, tmp_path: Path) -> Recorder:
    """A run whose definition leads to every panel, before its first measurement."""
    return Recorder(lifecycle.create_run(still, alice, ALL_PANELS), tmp_path)


@pytest.fixture
def measured(recorder: Recorder) -> Recorder:
    """The same run after three measurements."""
    for step, when in ((0, "before"), (10, "during"), (20, "during")):
        send_panels(recorder, step, when)
    return recorder


def url_of(run: Run, tab: str = "") -> str:
    return f"/runs/{run.public_id}/{tab}"


def expect_points(page: Page, chart: str, text: str) -> None:
    expect(page.locator(f"#chart-{chart} [data-count]")).to_have_text(text)


def test_calibration_updates_while_the_run_trains(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run, "calibration/"))
    expect(page.get_by_role("heading", name="Not measured yet")).to_be_visible()
    expect(page.locator("[data-scrubber]")).to_be_hidden()
    send_panels(recorder, 0, "before")
    expect(page.locator(".reliability .bar").first).to_be_visible()
    expect(page.locator("[data-scrubber] output")).to_have_text("step 0, before training")
    send_panels(recorder, 10)
    expect(page.locator("[data-scrubber] output")).to_have_text("step 10")
    expect(page.locator("#measured .result")).to_contain_text("Step 10: 200 answers")
    expect_points(page, "ece", "6 points")


def test_the_scrubber_works_by_keyboard_and_keeps_its_step(page: Page, measured: Recorder) -> None:
    page.goto(url_of(measured.run, "calibration/"))
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    expect(page.locator("#measured .result")).to_contain_text("Step 0, before training")
    assert page.url.endswith("?step=0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#measured .result")).to_contain_text("Step 10:")
    expect(page.locator("#scrub")).to_be_focused()
    expect(page.locator("#scrub")).to_have_attribute("aria-valuetext", "step 10")
    send_panels(measured, 30)
    expect(page.locator("#scrub")).to_have_attribute("max", "3")
    expect(page.locator("#measured .result")).to_contain_text("Step 10:")
    page.reload()
    expect(page.locator("#measured .result")).to_contain_text("Step 10:")
    page.get_by_role("button", name="Show newest").click()
    expect(page.locator("#measured .result")).to_contain_text("Step 30:")
    assert page.url.endswith("calibration/")


def test_another_readout_keeps_the_step(page: Page, measured: Recorder) -> None:
    page.goto(url_of(measured.run, "calibration/?step=10"))
    expect(page.locator("#measured")).to_contain_text("20 state none")
    page.get_by_role("link", name="expected", exact=True).click()
    expect(page.locator("#measured")).to_contain_text(
        "The mean of the confidences that the student could have stated"
    )
    expect(page.locator("#measured .result")).to_contain_text("Step 10:")
    expect(page).to_have_url(re.compile(r"readout=expected&step=10$"))
    expect_points(page, "ece", "9 points")
    page.get_by_text("Show both figures as tables").click()
    expect(page.get_by_role("region", name="Reliability by bin")).to_be_visible()


def test_the_tokens_of_a_step_are_drawn_and_listed(page: Page, measured: Recorder) -> None:
    page.goto(url_of(measured.run, "tokens/"))
    expect(page.locator(".region-map").first).to_be_visible()
    assert page.locator(".region-map").first.locator(".cell").count() > 50
    expect(page.get_by_role("region", name="The four regions").locator("tbody tr")).to_have_count(4)
    expect_points(page, "regions", "12 points")
    page.get_by_role("button", name="Previous measurement").click()
    expect(page.locator("#measured .result")).to_contain_text("Step 10, stage forward")
    send_panels(measured, 30)
    expect_points(page, "regions", "16 points")


def test_the_privileged_rates_and_the_gate_update(page: Page, recorder: Recorder) -> None:
    page.goto(url_of(recorder.run, "privileged/"))
    expect(page.get_by_role("heading", name="Not measured yet")).to_be_visible()
    send_panels(recorder, 0, "before")
    expect(page.locator("#privileged")).to_contain_text("there is something to learn")
    expect(page.locator(".rates circle")).to_have_count(3)
    send_panels(recorder, 10)
    expect(page.locator(".rates circle")).to_have_count(6)


def test_a_tab_appears_with_the_first_event_of_its_panel(
    page: Page, still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    page.goto(url_of(recorder.run))
    tab = page.get_by_role("link", name="Calibration")
    expect(tab).to_have_count(0)
    recorder.send([calibration(0, "before", "answer")])
    tab.click()
    expect(page.locator("#measured")).to_contain_text(
        "The mean probability of the answer's own tokens"
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_every_panel_is_accessible_and_fits_the_screen(
    open_page: Callable[..., Page],
    alice: User,
    measured: Recorder,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    page = open_page(alice, viewport, dark)
    for tab in PANELS:
        page.goto(url_of(measured.run, tab))
        page.wait_for_load_state("networkidle")
        assert axe_violations(page) == [], tab
        assert not has_sideways_scroll(page), tab

"""The System tab: the parts of a step are stacked to a whole, and grow with the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE
from tests.webapp.recorded import SPEC, Recorder
from webapp.access.models import Team, User
from webapp.runs import lifecycle


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_the_parts_of_a_step_are_read_from_a_stacked_chart(
    open_page: Callable[..., Page],
    still: Team,
    alice: User,
    tmp_path: Path,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 20)
    page = open_page(alice, viewport, dark)
    page.goto(f"/runs/{recorder.run.public_id}/system/")
    chart = page.locator("#chart-time")
    expect(chart.locator("canvas")).to_be_visible()
    expect(chart.locator(".legend")).to_contain_text("reading of the teacher")
    expect(chart.locator(".legend")).to_contain_text("20")
    # Parts of a whole have no logarithmic axis.
    expect(chart.get_by_role("button", name="Logarithmic axis")).to_have_count(0)
    expect(page.locator("#chart-throughput").get_by_role("button", name="log")).to_be_visible()
    recorder.train(21, 23)
    expect(page.locator("#run-head [data-live=step]")).to_have_text("23")
    chart.get_by_role("button", name="as a table").click()
    expect(chart.locator("[data-table]")).to_contain_text("23")
    assert axe_violations(page) == []

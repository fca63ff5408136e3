"""Reading answers beside each other in a browser: from a comparison to a problem, by keys, on a
phone and in the dark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from tests.webapp.comparisons.test_side_by_side import FIRST, SECOND, address_of, evaluated
from tests.webapp.recorded import recorded
from webapp.access.models import Team, User
from webapp.runs.models import Run


@pytest.fixture
def trained(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path / "trained")


def test_answers_are_read_from_a_comparison_problem_by_problem_and_step_by_step(
    page: Page, still: Team, alice: User, trained: Run, tmp_path: Path
) -> None:
    runs = [
        evaluated(still, alice, tmp_path / name, name, passed)
        for name, passed in (("plain", FIRST), ("sharp", SECOND))
    ]
    page.goto(f"/compare/?runs={','.join(run.public_id for run in runs)}")
    page.get_by_role("link", name="sharp and plain").click()
    expect(page.get_by_role("heading", name="Problems in all columns")).to_be_visible()
    page.get_by_role("link", name="What is 2 + 2?").click()
    expect(page.get_by_label("Row 1, column 2")).to_contain_text("The sum is 4")
    page.wait_for_load_state()
    expect(page.get_by_label("Row 1, column 1").locator(".shared")).to_have_text("The sum is ")
    page.keyboard.press("j")
    expect(page.get_by_label("Problem", exact=True)).to_contain_text("What is 1 + 1?")
    page.wait_for_load_state()
    page.keyboard.press("k")
    expect(page.get_by_label("Problem", exact=True)).to_contain_text("What is 2 + 2?")

    # From a rollout of a run, beside the step before; then both columns move.
    row = trained.rollouts.get(step=40, problem="p01", source="student")
    page.goto(f"/runs/{trained.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    page.get_by_role("link", name="Beside another step or run").click()
    heads = [page.get_by_label(f"Column {number}", exact=True) for number in (1, 2)]
    expect(heads[0]).to_contain_text("Step 30")
    # The keys work once the page's script has been read.
    page.wait_for_load_state()
    page.keyboard.press("ArrowRight")
    expect(heads[0]).to_contain_text("Step 40")
    expect(heads[1]).to_contain_text("Step 50")
    # With the focus in a column that one moves, twice in a row.
    heads[1].get_by_role("link").first.focus()
    for step in (40, 30):
        page.wait_for_load_state()
        page.keyboard.press("ArrowLeft")
        expect(heads[1]).to_contain_text(f"Step {step}")
    expect(heads[0]).to_contain_text("Step 40")
    # On a token the arrows move to the next one.
    page.get_by_label("Row 1, column 1").locator(".tok").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-token-detail]")).to_contain_text("divergence, nats")
    expect(page).to_have_url(re.compile("problem=p01"))

    page.get_by_text("Change or add columns").click()
    page.get_by_label("Run").select_option(runs[0].public_id)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("Column 3", exact=True)).to_contain_text("plain")


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_the_pages_are_accessible_and_fit(
    open_page: Callable[..., Page],
    axe_violations: Callable[[Page], list[str]],
    alice: User,
    trained: Run,
    viewport: dict[str, int],
    dark: bool,
) -> None:
    page = open_page(alice, viewport, dark)
    columns = [(trained, "train", step) for step in (20, 40)]
    for problem in ("p01", ""):
        page.goto(address_of(*columns, problem=problem))
        expect(page.get_by_role("heading", level=1)).to_contain_text("Answers side by side")
        assert axe_violations(page) == []
        assert not has_sideways_scroll(page)

"""An experiment in a browser: planned in the form of a run, launched, and its runs compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, has_sideways_scroll
from webapp.access.models import User
from webapp.experiments.models import Experiment
from webapp.runs.models import Run, State


def fill(page: Page, label: str, value: str) -> None:
    with page.expect_response("**/runs/new/check/"):
        page.get_by_label(label, exact=True).fill(value)


def test_a_setting_varies_over_seeds_and_the_runs_are_compared(page: Page) -> None:
    page.goto("/runs/new/")
    fill(page, "Seeds", "0")
    expect(page.locator("[data-problem-of=repeats]")).to_have_text(
        "Must be a whole number from 1 to 50."
    )
    fill(page, "Seeds", "2")
    page.get_by_text("Settings that vary").click()
    fill(page, "Setting 1", "pool.weighting.alpha")
    with page.expect_response("**/runs/new/check/"):
        page.locator("#vary-0-values").fill("1, 3")
    expect(page.locator("#check")).to_contain_text("4 runs: 2 arms with 2 seeds each.")
    page.get_by_role("button", name="Start 4 runs").click()
    expect(page.get_by_role("status").get_by_text("0 of 4 runs have ended")).to_be_visible()
    # Their results come while the page is open.
    for index, run in enumerate(Run.objects.order_by("pk")):
        run.state, run.summary = State.COMPLETED, {"pass_rate": 0.4 + index / 10}
        run.save()
    expect(page.get_by_text("4 of 4 runs have ended: 4 completed.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="alpha = 3")
    expect(row).to_contain_text("60.0 %")
    expect(row).to_contain_text("2 seeds")
    page.get_by_role("link", name="Compare the runs").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Compar")
    assert all(run.public_id in page.url for run in Run.objects.all())


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_of_an_experiment_fits_a_phone(
    open_page: Callable[..., Page], alice: User, dark: bool
) -> None:
    experiment = Experiment.objects.create(
        team=alice.memberships.get().team,
        owner=alice,
        name="alpha over seeds",
        spec={},
        arms=[{"name": "alpha = 1", "changes": {}}, {"name": "alpha = 3", "changes": {}}],
        seeds=[0, 1],
    )
    for arm in (0, 1):
        for seed in (0, 1):
            experiment.runs.create(arm=arm, seed=seed)
    page = open_page(alice, PHONE, dark)
    page.goto(f"/experiments/{experiment.public_id}/")
    expect(page.get_by_text("4 of 4 runs have ended: 4 deleted.")).to_be_visible()
    assert not has_sideways_scroll(page)
    page.goto("/experiments/")
    assert not has_sideways_scroll(page)

"""Every recipe from form to panel: started in the browser, run by a real supervisor and trainer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from tests.faults.conftest import over, process_of, until
from webapp.access.models import User
from webapp.runs.models import ACTIVE, Run
from workers.machine import host
from workers.run_placement import place_queued

SMALL = {
    "data.train.count": "40",
    "evaluation.final_samples": "1",
    "evaluation.every": "2",
    "record.every": "1",
    "checkpoints.every": "0",
}
STAGE = {"problems_per_step": "4", "until.steps": "4", "optimiser.warmup_steps": "0"}
PANELS = [
    ("paced", "small", "frontier/", "[data-heat] svg"),
    ("opsd", "small", "privileged/", "#privileged .rates circle"),
    ("tip", "small", "tokens/", ".region-map .cell"),
    ("caopd", "small", "calibration/", ".reliability .bar"),
]


@pytest.fixture
def run_processes(
    child_environment: dict[str, str], alice: User, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give a run's processes the test database, and kill those that are left after the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setattr(host, "LEASE_SECONDS", 1.0)
    yield
    for run in Run.objects.filter(state__in=ACTIVE):
        process_of(run).kill()
        until(partial(over, run))


def shorten(page: Page, stages: int) -> None:
    """Set the fields of the form so that the run takes seconds."""
    fields = SMALL | {
        f"stages.{index}.{name}": value for index in range(stages) for name, value in STAGE.items()
    }
    for name, value in fields.items():
        field = page.locator(f'[name="{name}"]')
        if field.count():
            field.first.fill(value)
    with page.expect_response("**/runs/new/check/"):
        page.fill("#field-name", "Small")


@pytest.mark.parametrize(("recipe", "preset", "panel", "selector"), PANELS)
def test_a_recipe_runs_from_its_form_and_fills_its_panel(
    page: Page, run_processes: None, recipe: str, preset: str, panel: str, selector: str
) -> None:
    page.goto(f"/runs/new/?recipe={recipe}&preset={preset}&mode=expert")
    shorten(page, 2 if recipe == "paced" else 1)
    page.click("text=Start run")
    page.wait_for_url("**/runs/*/", wait_until="networkidle")
    run = Run.objects.get()
    page.goto(f"/runs/{run.public_id}/{panel}")
    assert run.pk in place_queued()
    expect(page.locator(selector).first).to_be_visible(timeout=120_000)
    until(partial(over, run))
    assert run.state == "completed", run.reason

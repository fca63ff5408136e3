"""Reproduce in a browser: from a recipe's button to the verdict beside the published one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, has_sideways_scroll
from tests.faults.conftest import over, process_of, until
from trainer.spec.changes import apply_changes
from webapp.access.models import Team, User
from webapp.experiments import bases, reproduction
from webapp.experiments.models import Experiment, ExperimentRun
from webapp.experiments.verdicts import verdicts_of
from webapp.runs.models import ACTIVE, Run
from workers.machine import host
from workers.run_placement import place_queued

# The same experiment with runs of seconds: what is walked through is real, only smaller.
SHORT: dict[str, Any] = {
    "data.train.count": 100,
    "data.retained.count": 10,
    "pool.rollouts_per_problem": 2,
    "pool.track_problems": 0,
    "stages.0.problems_per_step": 4,
    "stages.0.optimiser.warmup_steps": 0,
    "stages.0.until.steps": 2,
    "evaluation.every": 0,
    "evaluation.problems": None,
    "evaluation.samples": 1,
    "evaluation.final_samples": 1,
    "checkpoints.every": 0,
    "record.every": 0,
}


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


@pytest.mark.timeout(600)
def test_a_recipes_experiment_is_run_again_to_its_verdict(page: Page, run_processes: None) -> None:
    page.goto("/recipes/paced/")
    page.get_by_role("link", name="Reproduce The sample run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Reproduce: The sample run")
    expect(page.get_by_label("Seeds")).to_have_value("3")
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.get_by_role("status").get_by_text("0 of 3 runs have ended")).to_be_visible()
    expect(page.get_by_text("The verdict is given when every run has ended.")).to_be_visible()
    for run in Run.objects.all():
        run.spec = apply_changes(run.spec or {}, SHORT)
        run.save(update_fields=["spec"])

    def all_over() -> bool:
        place_queued()
        return all(over(run) for run in Run.objects.all())

    # Three trainers load torch, which takes long beside other work.
    until(all_over, 400)
    assert {run.state for run in Run.objects.all()} == {"completed"}
    expect(page.get_by_text("3 of 3 runs have ended: 3 completed.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="With each seed, the student gains more than")
    published = row.get_by_role("cell").nth(1)
    expect(published).to_contain_text("in each seed, shown")
    expect(published).to_contain_text("0.130")
    judged = verdicts_of(Experiment.objects.get(), list(ExperimentRun.objects.all()))
    assert judged is not None
    here = judged.sections[0][1][0].here
    # Two steps teach nothing, and the verdict says so.
    assert here is not None and here.words in ("in each seed, not shown", "in each seed, reversed")
    expect(row.get_by_role("cell").first).to_contain_text(here.words)
    expect(row.get_by_role("cell").first).to_contain_text("3 seeds")


@pytest.mark.parametrize("dark", [False, True])
def test_the_pages_fit_a_phone_and_are_accessible(
    open_page: Callable[..., Page],
    axe_violations: Callable[[Page], list[str]],
    still: Team,
    alice: User,
    dark: bool,
) -> None:
    experiment = reproduction.launch(still, alice, "paced", [8, 9, 10])
    base = bases.claim_next()
    assert base is not None
    reproduction.fail_base(base, "The training of the base student ended early: no space left.")
    page = open_page(alice, PHONE, dark)
    for address in (
        "/recipes/paced/reproduce/paced/",
        "/recipes/paced/",
        f"/experiments/{experiment.public_id}/",
    ):
        page.goto(address)
        assert not has_sideways_scroll(page), address
        assert axe_violations(page) == [], address

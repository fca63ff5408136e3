"""A job from the page of a data set to its result: started in the browser, carried out by real
runners and trainers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, has_sideways_scroll
from tests.faults.conftest import until
from trainer.text.problems import arithmetic
from webapp.access.models import Team, User
from webapp.jobs.models import Copy, Job, State
from webapp.library import artifacts
from webapp.library.models import DataSet
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import registration
from workers.shards import placement


@pytest.fixture
def data(still: Team, alice: User, tmp_path: Path) -> DataSet:
    """Forty sums as a data set of the team."""
    problems = arithmetic.make(("add",), (1, 2), 40, 0)
    lines = [f"{problem.question},{problem.answer}" for problem in problems]
    (tmp_path / "sums.csv").write_text("\n".join(["question,answer", *lines]))
    columns = {"question": "question", "answer": "answer"}
    return DataSet.objects.create(
        team=still,
        name="sums",
        artifact=artifacts.put(tmp_path / "sums.csv", still),
        fingerprint="f" * 64,
        filename="sums.csv",
        format="csv",
        problem_count=40,
        columns=columns,
        verifier={"kind": "numeric", "tolerance": 0.0},
        created_by=alice,
    )


@pytest.fixture
def devices(
    child_environment: dict[str, str], still: Team, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Two slots here. The processes of a job inherit the test database; none survives the test."""
    monkeypatch.setenv("DATABASE_URL", child_environment["DATABASE_URL"])
    monkeypatch.setenv("STILLROOM_SLOTS", "2")
    registration.register()
    yield
    Job.objects.filter(state=State.RUNNING).update(state=State.STOPPED)
    for copy in Copy.objects.all():
        TrainerProcess(placement.folder_of(copy)).kill()
    until(lambda: not Copy.objects.filter(ended_at=None).exists())


def test_pass_rates_of_a_data_set_are_measured_from_its_page(
    page: Page,
    data: DataSet,
    devices: None,
    open_page: Callable[..., Page],
    alice: User,
    axe_violations: Callable[[Page], list[str]],
) -> None:
    page.goto(f"/data/{data.pk}/")
    page.click("text=Measure pass rates")
    expect(page.locator("#field-name")).to_have_value("Pass rates: sums")
    expect(page.locator("#field-problems-path-file")).to_have_value(f"dataset:sums@{'f' * 64}")
    assert axe_violations(page) == []
    page.fill("#field-work-samples-pass_rates", "4")
    page.fill('[name="sampling.max_new_tokens"]', "24")
    page.check("text=Expert")
    page.fill('[name="compute.block"]', "20")
    page.click("text=Start job")
    page.wait_for_url("**/jobs/*/")
    expect(page.locator("text=waiting for a free device")).to_be_visible()
    assert placement.place_waiting() == 2
    expect(page.locator("#job .page-head .badge")).to_have_text("completed", timeout=120_000)
    expect(page.locator(".bars rect.mastered")).to_be_visible()
    expect(page.locator(".headline")).to_contain_text("over 40 problems")
    assert axe_violations(page) == []
    phone = open_page(alice, PHONE, True)
    phone.goto(page.url)
    assert not has_sideways_scroll(phone)
    assert axe_violations(phone) == []
    with page.expect_download() as download:
        page.click("text=CSV")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 41 and lines[0].startswith(
        "id,question,reference,domain,difficulty,passed,verdicts,pass_rate"
    )

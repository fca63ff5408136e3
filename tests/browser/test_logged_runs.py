"""Runs that a client logs, in a browser: hundreds of series, and the filters of the list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, has_sideways_scroll
from webapp.access.models import Team, User
from webapp.clients import runs, summary
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunPublicId, digest_id
from webapp.clients.record import record
from webapp.runs import lifecycle
from webapp.runs.models import Run, State

SERIES = 520
MAX_CANVASES = 60


def log(run: Run, steps: range, extra: tuple[str, ...] = ()) -> None:
    keys = (
        "loss",
        "grad_norm",
        *(f"layer/{i:03d}/norm" for i in range(SERIES - 4)),
        "eval/reward",
        "system/cpu",
        *extra,
    )
    logs = [
        LoggedValues({key: step + len(key) for key in keys}, step, 1.7e9 + step, digest_id(step))
        for step in steps
    ]
    with transaction.atomic():
        record(
            {
                run.pk: [
                    ClientBatch(
                        RunPublicId(run.team_id, run.public_id),
                        logs,
                        params={"lr": 0.1},
                        not_kept=frozenset({"samples"}),
                    )
                ]
            }
        )
    summary.refresh(run.pk)


@pytest.fixture
def logged(still: Team, alice: User) -> Run:
    run = runs.create(runs.project(still, "sums"), alice, "trackio", "from a cluster", "key")
    log(run, range(8))
    return run


def test_only_charts_in_view_are_drawn(page: Page, logged: Run) -> None:
    page.goto(f"/runs/{logged.public_id}/")
    first_chart, late_chart = (
        page.locator("figure[data-key=loss]"),
        page.locator("figure[data-key='layer/400/norm']"),
    )
    expect(first_chart.locator("[data-count]")).to_have_text("8 points")
    assert page.locator("canvas").count() < MAX_CANVASES
    late_chart.scroll_into_view_if_needed()
    expect(late_chart.locator("[data-count]")).to_have_text("8 points")
    assert page.locator("canvas").count() < MAX_CANVASES
    page.get_by_label("Find series").fill("EVAL reward")
    expect(page.locator("figure[data-key]:visible")).to_have_count(1)
    reward = page.locator("figure[data-key='eval/reward']")
    expect(reward.locator("[data-count]")).to_have_text("8 points")
    log(logged, range(8, 12), extra=("eval/kl",))
    expect(reward.locator("[data-count]")).to_have_text("12 points")
    expect(page.get_by_text("1 new series.")).to_be_visible()
    page.get_by_label("Find series").fill("nothing of the kind")
    expect(page.get_by_text("No series matches this text.")).to_be_visible()


def test_a_logged_run_shows_its_state_and_has_no_actions(page: Page, logged: Run) -> None:
    page.goto(f"/runs/{logged.public_id}/")
    head = page.locator("#run-head")
    expect(head).to_contain_text("logging")
    expect(head).to_contain_text("logged by trackio")
    for name in ("Stop", "Resume", "Clone", "Run again"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.locator("#tabs a")).to_have_text(["Overview", "Files", "Log", "Config"])
    runs.end(logged, State.COMPLETED)
    expect(head).to_contain_text("finished")
    page.get_by_role("link", name="Config").click()
    expect(page.get_by_role("row", name="lr 0.1")).to_be_visible()
    expect(page.get_by_text("samples", exact=True)).to_be_visible()


def test_the_list_filters_by_source_and_project(
    page: Page, logged: Run, still: Team, alice: User
) -> None:
    lifecycle.create_run(still, alice, None, name="made here", state=State.STOPPED)
    page.goto("/")
    page.get_by_label("Source").select_option("logged by a client")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    expect(page.locator("tr[data-run]")).to_contain_text("logging")
    page.get_by_label("Project").select_option("sums")
    page.get_by_label("Source").select_option("started here")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No run matches")).to_be_visible()


@pytest.mark.parametrize(("viewport", "dark"), [(WIDE, False), (PHONE, True)])
def test_the_pages_of_logged_runs_are_accessible(
    open_page: Callable[..., Page],
    alice: User,
    logged: Run,
    axe_violations: Callable[[Page], list[str]],
    viewport: dict[str, int],
    dark: bool,
) -> None:
    page = open_page(alice, viewport, dark)
    for path in (
        f"/runs/{logged.public_id}/",
        f"/runs/{logged.public_id}/config/",
        "/team/",
        "/runs/bring/",
        "/docs/",
        "/",
    ):
        page.goto(path)
        if path.endswith(f"{logged.public_id}/"):
            expect(page.locator("figure[data-key=loss] [data-count]")).to_have_text("8 points")
        assert axe_violations(page) == [], path
        assert not has_sideways_scroll(page), path

"""Every page that shows a run which trains on its evaluation problems says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.recorded import SPEC, Recorder
from webapp.access.models import Team, User
from webapp.pages.panels import charts
from webapp.runs import lifecycle
from webapp.runs.models import Run

MARK = "trains on its evaluation problems"
COHORT = {**SPEC, "name": "test time", "data": {"evaluation": {"kind": "cohort"}}}


@pytest.fixture
def cohort(still: Team, alice: User) -> Run:
    return lifecycle.create_run(still, alice, COHORT)


def shown(client: Client, user: User, path: str) -> str:
    client.force_login(user)
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_the_header_of_every_page_of_the_run_says_so(
    client: Client, alice: User, cohort: Run, run: Run
) -> None:
    for page in ("", "config/", "log/"):
        assert MARK in shown(client, alice, f"/runs/{cohort.public_id}/{page}")
    assert MARK not in shown(client, alice, f"/runs/{run.public_id}/")


def test_its_results_are_those_of_the_cohort(
    client: Client, alice: User, cohort: Run, tmp_path: Path
) -> None:
    recorder = Recorder(cohort, tmp_path)
    recorder.begin()
    recorder.train(1, 20)
    page = shown(client, alice, f"/runs/{cohort.public_id}/")
    assert "of the problems of the cohort" in page and "<h2>Problems of the cohort</h2>" in page
    assert "of the held-out problems" not in page and "held-out problems, 95 %" not in page


def test_its_row_in_the_list_says_so_and_no_other_row(
    client: Client, alice: User, cohort: Run, run: Run
) -> None:
    assert shown(client, alice, "/").count(MARK) == 1


def test_a_comparison_names_it(client: Client, alice: User, cohort: Run, run: Run) -> None:
    page = shown(client, alice, f"/compare/?runs={cohort.public_id},{run.public_id}")
    assert "test time: trained on the evaluation problems, without their references" in page
    others = shown(client, alice, f"/compare/?runs={run.public_id}")
    assert "trained on the evaluation problems" not in others


@pytest.mark.parametrize("data", [None, "text", {"evaluation": "cohort"}, {"evaluation": None}])
def test_parameters_of_a_client_with_these_names_mean_nothing(
    still: Team, alice: User, data: object
) -> None:
    run = lifecycle.create_run(still, alice, {**SPEC, "data": data})
    assert "cohort" not in run.summary


def test_the_answers_of_a_cohort_are_not_called_correct() -> None:
    voting = {"stages": [{"rollouts": {"filter": {"kind": "vote"}}}]}
    labels = {line.label for chart in charts.charts_of(voting) for line in chart.lines}
    assert "agree with the most common answer" in labels
    assert "correct, student's own answers" not in labels

"""Experiments in the browser: launched from the run form, followed, stopped and continued."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.webapp.conftest import SPEC
from tests.webapp.pages.test_new_run import as_, posted
from webapp.access.models import User
from webapp.experiments.models import Experiment, ExperimentRun
from webapp.experiments.results import arm_results
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db
ALPHA = {"vary.0.path": "pool.weighting.alpha", "vary.0.values": "1, 3"}


def launch(client: Client, **fields: str) -> Any:
    return client.post("/runs/new/", {**posted(SPEC), "repeats": "2", **fields})


@pytest.fixture
def experiment(alice: User) -> Experiment:
    answer = launch(as_(alice), **ALPHA)
    made = Experiment.objects.get()
    assert answer["Location"] == f"/experiments/{made.public_id}/"
    return made


def page(client: Client, experiment: Experiment) -> str:
    return client.get(f"/experiments/{experiment.public_id}/").content.decode()


def finish(experiment: Experiment, rates: dict[tuple[int, int], float]) -> None:
    """Let the runs of these (arm, seed) complete with the pass rates."""
    for (arm, seed), rate in rates.items():
        run = Run.objects.filter(
            experimentrun__experiment=experiment, experimentrun__arm=arm, experimentrun__seed=seed
        )
        run.update(state=State.COMPLETED, summary={"pass_rate": rate})


def test_all_runs_are_queued_at_once_seed_by_seed(alice: User, experiment: Experiment) -> None:
    runs = list(Run.objects.order_by("pk"))
    assert [(run.spec or {})["seed"] for run in runs] == [0, 0, 1, 1]
    assert [run.spec["pool"]["weighting"]["alpha"] for run in runs if run.spec] == [1, 3, 1, 3]
    assert {run.state for run in runs} == {State.QUEUED}
    text = page(as_(alice), experiment)
    assert "0 of 4 runs have ended: 4 queued." in text
    assert all(run.public_id in text for run in runs)
    assert "/compare/?runs=" in text
    assert experiment.name in as_(alice).get("/experiments/").content.decode()


def test_a_run_without_repetition_is_a_single_run(alice: User) -> None:
    answer = launch(as_(alice), repeats="1")
    assert answer["Location"] == f"/runs/{Run.objects.get().public_id}/"
    assert not Experiment.objects.exists()


def test_the_page_has_means_and_paired_differences(alice: User, experiment: Experiment) -> None:
    finish(experiment, {(0, 0): 0.5, (0, 1): 0.6, (1, 0): 0.6, (1, 1): 0.8})
    first, second = arm_results(experiment, list(experiment.runs.select_related("run")))
    assert first.mean == pytest.approx(0.55) and first.difference is None
    assert second.difference is not None and second.difference.n == 2
    # Differences 0.1 and 0.2: mean 0.15, s = 0.0707…, t with one degree of freedom 12.706.
    assert second.difference.mean == pytest.approx(0.15)
    assert second.difference.high == pytest.approx(0.15 + 12.7062 * 0.05, abs=1e-4)
    text = page(as_(alice), experiment)
    assert "4 of 4 runs have ended: 4 completed." in text
    assert "Stop all" not in text and "every 3s" not in text


def test_a_run_that_failed_or_was_deleted_is_carried_out_again(
    alice: User, experiment: Experiment
) -> None:
    client = as_(alice)
    failed, deleted, completed, queued = experiment.runs.order_by("pk")
    for cell, state in ((failed, State.FAILED), (completed, State.COMPLETED)):
        Run.objects.filter(experimentrun=cell).update(state=state)
    Run.objects.filter(experimentrun=deleted).delete()
    assert page(client, experiment).count("Run again") == 2
    for cell in (failed, deleted, completed, queued):
        client.post(f"/experiments/{experiment.public_id}/repeat/", {"cell": cell.pk})
    before = {failed.run_id, deleted.run_id}
    for cell in (failed, deleted):
        cell.refresh_from_db()
        assert cell.run is not None and cell.run.pk not in before
        assert cell.run.state == State.QUEUED and cell.run.spec is not None
        assert cell.run.spec["seed"] == cell.seed
        alpha = cell.run.spec["pool"]["weighting"]["alpha"]
        assert alpha == experiment.arms[cell.arm]["changes"]["pool.weighting.alpha"]
    for cell in (completed, queued):
        run_id = cell.run_id
        cell.refresh_from_db()
        assert cell.run_id == run_id


def test_all_runs_are_stopped_together(alice: User, experiment: Experiment) -> None:
    finish(experiment, {(0, 0): 0.5})
    as_(alice).post(f"/experiments/{experiment.public_id}/stop/")
    states = sorted(Run.objects.values_list("state", flat=True))
    assert states == [State.COMPLETED, State.STOPPED, State.STOPPED, State.STOPPED]


def test_deleting_the_experiment_keeps_its_runs(alice: User, experiment: Experiment) -> None:
    as_(alice).post(f"/experiments/{experiment.public_id}/delete/")
    assert not ExperimentRun.objects.exists() and Run.objects.count() == 4


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"repeats": "many"}, "Must be a whole number from 1 to 50."),
        ({"repeats": "-1"}, "Must be a whole number from 1 to 50."),
        ({"vary.2.path": "pool.weighting.alpha", "vary.2.values": "1, 1"}, "Have 1 twice."),
        ({"vary.0.path": "pool.weighting.alpha", "vary.0.values": "-2"}, "for alpha = -2"),
        (
            {"vary.0.path": "networks.student.model", "vary.0.values": "model:none@00"},
            "with model = model:none@00, networks.student.model names a model",
        ),
    ],
)
def test_what_cannot_be_launched_starts_nothing(
    alice: User, fields: dict[str, str], sentence: str
) -> None:
    answer = launch(as_(alice), **fields)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Run.objects.exists()


def test_the_side_panel_names_the_arms(alice: User) -> None:
    form = {**posted(SPEC), "repeats": "3", **ALPHA}
    text = as_(alice).post("/runs/new/check/", form).content.decode()
    assert "6 runs: 2 arms with 3 seeds each." in text and "alpha = 3" in text

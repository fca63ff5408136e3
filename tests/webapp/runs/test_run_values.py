"""Figures and settings of runs in the table that is searched: who writes what, and when."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.clients import run_indexes, runs
from webapp.clients.client_batch import ClientBatch, RunPublicId
from webapp.clients.record import record
from webapp.ingest import figures
from webapp.runs import lifecycle, run_values, search_words
from webapp.runs.better import better
from webapp.runs.models import Run, RunIndex, RunValue


def values(run: Run) -> dict[str, Any]:
    """The values of a run by key."""
    return {
        key: text if number is None else number
        for key, number, text in RunValue.objects.filter(run=run).values_list(
            "key", "number", "text"
        )
    }


def test_a_launched_run_has_its_settings_and_short_names(still: Team, alice: User) -> None:
    spec = {
        **SPEC,
        "seed": 7,
        "stages": [
            {
                "objective": {"kind": "grpo"},
                "optimiser": {"learning_rate": 1e-4},
                "until": {"steps": 3},
            }
        ],
        "evaluation": {"pass_at": [1, 4], "note": None},
    }
    run = lifecycle.create_run(still, alice, spec)
    stored = values(run)
    assert stored["lr"] == stored["stages.0.optimiser.learning_rate"] == 1e-4
    assert stored["objective"] == "grpo"
    assert (stored["student"], stored["teacher"], stored["seed"]) == ("student", "teacher", 7.0)
    assert stored["evaluation.pass_at"] == "1, 4"
    assert "evaluation.note" not in stored and "name" not in stored
    assert "grpo" in RunIndex.objects.get(run=run).text.split("\n")


def test_a_run_has_at_most_200_keys_and_says_how_many_are_left_out(
    still: Team, alice: User
) -> None:
    run = lifecycle.create_run(still, alice, SPEC)
    run_values.write_settings(run, {f"option_{index:03d}": index for index in range(500)})
    left_out = run_values.write_figures(run, {f"metric_{index:03d}": index for index in range(500)})
    stored = values(run)
    assert len(stored) == 200
    assert left_out == 420
    assert RunIndex.objects.get(run=run).settings_left_out == 380
    assert "option_119" in stored and "metric_079" in stored


def test_the_config_tab_says_how_many_are_left_out(
    client: Client, still: Team, alice: User, run: Run
) -> None:
    client.force_login(alice)
    address = f"/runs/{run.public_id}/config/"
    assert "does not find this run by" not in client.get(address).content.decode()
    run_values.write_settings(run, {f"option_{index:03d}": index for index in range(150)})
    assert "by 30 of its settings and 0 of its figures" in client.get(address).content.decode()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, (None, "true")),
        ("1e-4", (1e-4, None)),
        ("1_0", (None, "1_0")),
        (float("nan"), (None, "NaN")),
        ("-inf", (float("-inf"), None)),
        (10**400, (None, str(10**400)[:200])),
        ("a\0b", (None, "a\ufffdb")),
        ([1, "x"], (None, "1, x")),
    ],
)
def test_text_that_reads_as_a_number_is_one(
    value: Any, stored: tuple[float | None, str | None]
) -> None:
    assert run_values.stored_value(value) == stored


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("eval/common/pass_rate", "higher"),
        ("eval/pass_rate/low", None),
        ("train/loss", "lower"),
        ("eval_loss", "lower"),
        ("loss_scale", None),
        ("divergence/p99", "lower"),
        ("calibration/stated/ece", "lower"),
        ("calibration/stated/ece_if_calibrated", None),
        ("pass@4", "higher"),
        ("time/step_s", None),
        ("brass", None),
    ],
)
def test_the_better_direction_is_known_by_the_name(key: str, direction: str | None) -> None:
    assert better(key) == direction


def test_a_recorded_run_has_last_best_and_step_of_best(
    still: Team, alice: User, tmp_path: Path
) -> None:
    stored = values(recorded(still, alice, tmp_path))
    # The held-out pass rate climbs from 0.40 by 0.02 at each of six evaluations.
    assert stored["pass_rate"] == stored["eval/pass_rate"] == pytest.approx(0.52)
    assert stored["pass_rate.best"] == pytest.approx(0.52)
    assert stored["pass_rate.best_step"] == 60
    # `retained` falls from 0.95, which is so its best.
    assert (stored["retained/pass_rate.best"], stored["retained/pass_rate.best_step"]) == (0.95, 0)
    assert stored["retained/pass_rate"] == pytest.approx(0.92)
    assert stored["loss.best_step"] == 60 and stored["step"] == 60
    assert stored["difference"] == pytest.approx(0.12)
    assert "tokens_per_second" in stored and "tokens_per_second.best" not in stored


def test_a_rewind_takes_the_abandoned_best_back(still: Team, alice: User, tmp_path: Path) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 30)
    assert values(recorder.run)["pass_rate.best_step"] == 30
    recorder.send([{"type": "rewind", "step": 15}])
    stored = values(recorder.run)
    assert (stored["pass_rate.best_step"], stored["pass_rate.best"]) == (10, pytest.approx(0.42))


def test_the_best_of_a_long_run_is_found_at_its_step(
    still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    losses = {step: 1.0 + step / 5000 for step in range(1, 5001)} | {3210: 0.25}
    recorder.send(
        [
            {"type": "metrics", "step": step, "values": {"loss": loss}}
            for step, loss in losses.items()
        ]
    )
    figures.refresh(recorder.run)
    stored = values(recorder.run)
    assert (stored["loss.best"], stored["loss.best_step"], stored["loss"]) == (0.25, 3210, 2.0)


def test_figures_are_read_once_in_a_while_and_at_the_end(
    still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    recorder.train(1, 2)
    assert "loss" not in values(recorder.run)
    RunIndex.objects.update(read_at=F("read_at") - timedelta(seconds=figures.SECONDS))
    recorder.train(3, 4)
    assert values(recorder.run)["loss"] == 1.0
    recorder.train(5, 9)
    assert values(recorder.run)["step"] == 4
    recorder.end()
    assert values(recorder.run)["step"] == 60


def test_the_sweep_stores_what_nobody_has_stored(still: Team, alice: User, tmp_path: Path) -> None:
    run = recorded(still, alice, tmp_path)
    before = values(run)
    # A run of an earlier version.
    RunValue.objects.all().delete()
    RunIndex.objects.all().delete()
    assert run_indexes.catch_up() == 1
    assert values(run) == before
    assert run_indexes.catch_up() == 0
    # A run of a version that stored no words.
    RunIndex.objects.update(words=None)
    assert run_indexes.catch_up() == 1
    assert RunIndex.objects.filter(words__match=search_words.query("paced ARITH")).exists()
    # A run whose process was killed before it read its last figures.
    RunIndex.objects.update(read_batch=0, read_at=Now() - timedelta(hours=1))
    RunValue.objects.filter(key="loss").delete()
    assert run_indexes.catch_up() == 1
    assert values(run) == before


def test_parameters_of_a_client_are_settings(still: Team, alice: User) -> None:
    run = runs.create(runs.project(still, "sums"), alice, "mlflow", "from afar", "key")
    batch = ClientBatch(
        RunPublicId(still.pk, run.public_id),
        params={"learning_rate": "0.001", "optim": "AdamW", "model": "org/name"},
    )
    record({run.pk: [batch]})
    stored = values(run)
    assert (stored["lr"], stored["learning_rate"], stored["optim"]) == (0.001, 0.001, "AdamW")
    assert stored["student"] == "org/name"
    assert "adamw" in RunIndex.objects.get(run=run).text


def test_a_figure_replaces_a_setting_of_its_name(still: Team, alice: User) -> None:
    run = lifecycle.create_run(still, alice, SPEC)
    run_values.write_settings(run, {"loss": "kl", "lr": 1})
    run_values.write_figures(run, {"loss": 0.5})
    run_values.write_settings(run, {"loss": "kl", "lr": 2})
    assert values(run) == {"loss": 0.5, "lr": 2.0}


@pytest.mark.parametrize(
    "networks", ["resnet", 5, ["a"], {"student": "resnet"}, {"student": {"model": 5}}]
)
def test_a_parameter_may_be_called_as_a_part_of_a_definition(
    still: Team, alice: User, networks: Any
) -> None:
    run = runs.create(runs.project(still, "sums"), alice, "trackio", "from afar", "key")
    params = {"networks": networks, "stages": 3, "data": "mnist"}
    record({run.pk: [ClientBatch(RunPublicId(still.pk, run.public_id), params=params)]})
    stored = values(run)
    assert (stored["stages"], stored["data"]) == (3.0, "mnist")
    RunIndex.objects.all().delete()
    assert run_indexes.catch_up() == 1

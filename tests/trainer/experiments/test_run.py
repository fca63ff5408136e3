"""Execution of an experiment: order, several at a time, and CPU time estimated and spent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.trainer.experiments.test_definition import SMALL
from trainer import cli
from trainer.events import EventLog
from trainer.experiments import __main__ as command_line
from trainer.experiments import processes, run
from trainer.experiments.cpu_time import BASE_CPU_MINUTES, planned, remaining
from trainer.experiments.definition import Experiment
from trainer.experiments.folders import base_folder, bases_folder, run_folder

EXPERIMENT = Experiment.model_validate(SMALL)


def complete(folder: Path, cpu_minutes: float | None) -> None:
    """What a run that has completed leaves behind, as far as it matters here."""
    with closing(EventLog(folder / "attempts" / "1" / "events", attempt=1)) as log:
        log.emit("end", outcome="completed", reason="All steps are done.", remedy="")
    if cpu_minutes is not None:
        (folder / processes.FILE).write_text(json.dumps({"cpu_minutes": cpu_minutes}))


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Replace runs by their traces: folder of the run, and that of the run that it starts from."""
    trace: list[tuple[str, str | None]] = []

    def execute(definition: Mapping[str, Any], folder: Path, base: Path | None = None) -> None:
        if not (folder / processes.FILE).is_file():
            trace.append((folder.name, base.name if base else None))
            complete(folder, 3.0)

    monkeypatch.setattr(run, "execute", execute)
    return trace


def test_an_experiment_says_what_it_will_take_and_what_it_took(
    tmp_path: Path, executed: list[tuple[str, str | None]]
) -> None:
    complete(run_folder(tmp_path, "small", "a", 0), 2.0)
    lines: list[str] = []
    run.run(EXPERIMENT, tmp_path, [0, 1], ["a", "b"], lines.append)
    # Arm a as its completed run, the two of b as the definition says.
    assert lines[0] == (
        "small: estimated 0.08 CPU-hours: 3 runs of about 1.7 CPU-minutes; 1 of 4 runs is done"
    )
    assert lines[-1] == "small: took 0.15 CPU-hours, estimated 0.08"
    assert [name for name, _ in executed] == ["b-0", "a-1", "b-1"]
    run.run(EXPERIMENT, tmp_path, [0, 1], ["a", "b"], lines.append)
    assert "small: estimated 0.00 CPU-hours: 4 of 4 runs are done" in lines
    assert lines[-1] == "small: took 0.00 CPU-hours, estimated 0.00"


def test_the_estimate_counts_the_bases_that_are_missing(tmp_path: Path) -> None:
    with_base = SMALL | {"changes": {"networks.student.model": "base:student"}}
    experiment = Experiment.model_validate(with_base)
    base_folder(bases_folder(tmp_path), "student", 0).mkdir(parents=True)
    estimated = remaining(experiment, tmp_path, [0, 1, 2], ["a", "b"])
    assert estimated.bases == [BASE_CPU_MINUTES["student"]] * 2
    assert "6 runs of about 1.5 CPU-minutes, 2 base students of about" in estimated.describe()


def test_an_experiment_that_was_not_begun_needs_every_run_and_base() -> None:
    with_base = SMALL | {"changes": {"networks.student.model": "base:student"}}
    estimated = planned(Experiment.model_validate(with_base), 3)
    assert (len(estimated.runs), len(estimated.bases)) == (6, 3)
    assert estimated.hours == pytest.approx((6 * 1.5 + 3 * BASE_CPU_MINUTES["student"]) / 60)


def test_runs_of_the_search_are_a_measure_of_an_arms_time_but_other_arms_are_not(
    tmp_path: Path,
) -> None:
    arms = {"a": {"title": "A"}, "a-2": {"title": "A, again"}}
    claims = [SMALL["claims"][0] | {"minus": 0.1}]
    experiment = Experiment.model_validate(SMALL | {"arms": arms, "claims": claims})
    complete(run_folder(tmp_path, "small", "a", 100), 4.0)
    complete(run_folder(tmp_path, "small", "a", 101), 5.0)
    complete(run_folder(tmp_path, "small", "a-2", 100), 50.0)
    assert remaining(experiment, tmp_path, [0], ["a"]).runs == [4.5]


def test_arms_that_share_their_start_follow_the_first_one(
    tmp_path: Path, executed: list[tuple[str, str | None]]
) -> None:
    experiment = Experiment.model_validate(SMALL | {"shares_start": True})
    run.run(experiment, tmp_path, [1, 0, 1], ["b"], lambda line: None)
    assert executed == [("a-1", None), ("b-1", "a-1"), ("a-0", None), ("b-0", "a-0")]


def test_two_seeds_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first runs of both seeds wait for each other.
    both, order = Barrier(2, timeout=60), list[str]()

    def execute(definition: Mapping[str, Any], folder: Path, base: Path | None = None) -> None:
        both.wait()
        order.append(folder.name)

    monkeypatch.setattr(run, "execute", execute)
    run.run(EXPERIMENT, tmp_path, [0, 1], ["b", "a"], lambda line: None, jobs=2)
    assert set(order[:2]) == {"a-0", "a-1"} and set(order[2:]) == {"b-0", "b-1"}


def test_a_run_that_fails_ends_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(definition: Mapping[str, Any], folder: Path, base: Path | None = None) -> None:
        started.append(folder.name)
        raise RuntimeError(f"the run in {folder} ended with code 64")

    started: list[str] = []
    monkeypatch.setattr(run, "execute", fail)
    with pytest.raises(RuntimeError, match="a-0 ended with code 64"):
        run.run(EXPERIMENT, tmp_path, [0, 1, 2, 3], ["a", "b"], lambda line: None)
    # The next seed may have begun before the failure of the first was seen.
    assert started[0] == "a-0" and set(started) <= {"a-0", "a-1"}


def test_an_invalid_definition_is_refused_before_anything_is_run(
    tmp_path: Path, executed: list[tuple[str, str | None]]
) -> None:
    arms = SMALL["arms"] | {"b": {"title": "B", "changes": {"pool.weihgting": 1}}}
    experiment = Experiment.model_validate(SMALL | {"arms": arms})
    with pytest.raises(ValueError, match="weihgting"):
        run.run(experiment, tmp_path, [0], ["a", "b"], lambda line: None)
    assert executed == []


def test_a_process_leaves_its_cpu_time_and_has_one_thread(tmp_path: Path) -> None:
    module = tmp_path / "burn.py"
    module.write_text(
        "import os, time\n"
        "assert os.environ['OMP_NUM_THREADS'] == '1'\n"
        "while time.process_time() < 0.6: pass\n"
    )
    assert processes.run_and_record([str(module)], tmp_path) == 0
    assert (processes.cpu_minutes(tmp_path) or 0) >= 0.01
    assert processes.cpu_minutes(tmp_path / "elsewhere") is None


def test_a_process_that_fails_leaves_no_cpu_time(tmp_path: Path) -> None:
    module = tmp_path / "fail.py"
    module.write_text("raise SystemExit(7)\n")
    assert processes.run_and_record([str(module)], tmp_path) == 7
    assert processes.cpu_minutes(tmp_path) is None


def test_a_base_can_be_made_from_the_command_line_only_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["base", "studnet", "--seed", "0", "--dir", str(tmp_path)]) == 64
    assert "there is no base studnet; there is student, hinted" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_a_number_of_jobs_below_one_is_refused(
    jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments", "run", "paced", "--dir", "d", "--jobs", jobs])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "--jobs" in capsys.readouterr().err

"""The jobs and clocks of the compared trainers, and Stillroom's side on a job of two questions."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.step import cases, stillroom
from bench.step.job import WARM_UP, Clock, Job


def test_a_job_comes_back_as_it_was_written(tmp_path: Path) -> None:
    job = replace(cases.tiny(steps=5, questions=3), bfloat16=True)
    job.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job


def test_a_clock_leaves_out_the_first_steps() -> None:
    clock = Clock()
    for tokens in range(WARM_UP + 3):
        clock.tick(tokens)
    report = clock.report()
    assert len(report["wall_s"]) == len(report["cpu_s"]) == 2
    assert report["tokens"] == [WARM_UP + 1, WARM_UP + 2]
    assert 0 < report["first_step_cpu_s"] <= clock.cpu[-1]


def test_the_stillroom_side_reports_the_tokens_of_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(cases.tiny(steps=WARM_UP + 2, questions=2), longest=4)
    job.write(tmp_path / "job.json")
    monkeypatch.setattr(sys, "argv", ["stillroom", str(tmp_path / "job.json")])
    stillroom.main()
    report = json.loads(capsys.readouterr().out)
    assert len(report["tokens"]) == len(report["cpu_s"]) == 1
    assert 2 <= report["tokens"][0] <= 8

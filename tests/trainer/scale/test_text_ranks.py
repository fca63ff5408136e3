"""Distillation in two processes: a sharded student, divided rows, the numbers of one process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.trainer.text.tiny_run import CLOCK, spec
from trainer.engine.distributed import processes
from trainer.events import read
from trainer.exit_codes import ExitCode
from trainer.spec import RunSpec, to_yaml
from trainer.text import run

ROOT = Path(__file__).resolve().parents[3]


def definition() -> RunSpec:
    """Two steps each on the teacher's answers, on the student's own, on pairs and by ratios.

    The last two read the log-probs of teacher and reference.
    """
    sampling = {"max_new_tokens": 16}
    first = {"name": "written", "source": "teacher_written", "objective": {"kind": "forward_kl"}}
    # Five problems in two minibatches: the ranks have different numbers of rows.
    second = {"name": "own", "objective": {"kind": "reverse_kl"}, "minibatches": 2}
    third = {
        "name": "pairs",
        "source": "pairs",
        "objective": {"kind": "dpo"},
        "pairs": {"chosen": "solutions", "rejected": "student_before_stage"},
    }
    settings = {
        "problems_per_step": 5,
        "until": {"steps": 2},
        "rollouts": {"generate": {"sampling": sampling}},
    }
    fourth = {
        "name": "ratios",
        "objective": {"kind": "grpo", "kl": {"kind": "kl"}},
        "shapers": {"kl": {"to": "teacher"}},
        **settings,
        "rollouts": {"generate": {"per_problem": 3, "sampling": sampling}},
    }
    return spec(
        stages=[
            {**first, **settings},
            {**second, **settings},
            {**third, **settings, "rollouts": {"generate": {"sampling": {"max_new_tokens": 40}}}},
            fourth,
        ],
        pool={"rollouts_per_problem": 2, "track_problems": 0},
        evaluation={"every": 0, "final_samples": 1, "pass_at": [1]},
        checkpoints={"every": 0},
        compute={"processes": 2, "parallel": "fsdp"},
    )


def numbers(run_dir: Path) -> dict[tuple[int, str], float]:
    """Every metric but those of the clock, by step and name."""
    events = [
        event for event in read(run_dir / "attempts" / "1" / "events") if event["type"] == "metrics"
    ]
    return {
        (event["step"], key): float(value)
        for event in events
        for key, value in event["values"].items()
        if not key.startswith(CLOCK)
    }


def test_a_sharded_run_on_two_processes_gives_the_numbers_of_one(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(to_yaml(definition()))
    ended = subprocess.run(
        [*processes.TRAINER, "run", str(path), "--dir", str(tmp_path / "two")],
        cwd=ROOT,
        timeout=280,
    )
    assert ended.returncode == ExitCode.COMPLETED
    assert run.start(path, tmp_path / "one") == ExitCode.COMPLETED
    expected = numbers(tmp_path / "one")
    assert {step for step, key in expected if key == "loss"} == {1, 2, 3, 4, 5, 6, 7, 8}
    assert numbers(tmp_path / "two") == pytest.approx(expected, rel=1e-3, abs=1e-6, nan_ok=True)

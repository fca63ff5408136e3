"""Whole runs of a few steps, with no measured pool and few evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.trainer.text.tiny_run import events, merged, numbers, spec, start
from trainer.spec import RunSpec

PLAIN = {"kind": "arithmetic", "families": ["add", "sub"], "levels": [1, 2], "count": 16, "seed": 1}
SOLUTION: dict[str, Any] = {
    "kind": "privileged",
    "shows": "solution",
    "template": "[{privileged}]{question}",
}
HINTED: dict[str, Any] = {
    "student": {"model": "builtin:hinted"},
    "teacher": {"kind": "self", "context": SOLUTION},
}
STATED: dict[str, Any] = {
    "kind": "stated",
    "wording": " conf:{value}",
    "own_line": False,
    "decimals": 1,
    "instruction": "",
}


def short(*stages: dict[str, Any], **changes: Any) -> RunSpec:
    """Return a definition whose stages have three recorded steps unless they say otherwise.

    Where the student samples, each step has two answers to each of four problems.
    """
    quick: dict[str, Any] = {
        "stages": [_stage(number, stage) for number, stage in enumerate(stages)],
        "pool": {"estimate": "never", "weighting": {"kind": "uniform"}, "track_problems": 0},
        "evaluation": {"every": 0, "final_samples": 1, "pass_at": [1], "ema_decay": 0.0},
        "data": {"evaluation": {"count": 4}},
        "checkpoints": {"every": 0},
        "record": {"every": 1, "rollouts": 64},
    }
    return spec(**merged(quick, changes))


def _stage(number: int, stage: dict[str, Any]) -> dict[str, Any]:
    samples_student = stage.get("source", "student_rollouts") == "student_rollouts"
    rollouts = {
        "generate": {"per_problem": 2 if samples_student else 1, "sampling": {"max_new_tokens": 24}}
    }
    return merged(
        {
            "name": f"stage-{number}",
            "problems_per_step": 4,
            "until": {"steps": 3},
            "rollouts": rollouts,
        },
        stage,
    )


def carried_out(definition: RunSpec, folder: Path) -> Path:
    """Run the definition to completion and return the folder of the run."""
    assert start(definition, folder) == 0, events(folder, "end", "log")
    return folder


def column(folder: Path, name: str) -> list[float]:
    """A metric of every step that has it, in order."""
    return [value for (_, key), value in numbers(folder).items() if key == name]


def trained_rows(folder: Path, step: int) -> list[dict[str, Any]]:
    """What was recorded of the rollouts that this step trained on."""
    result = [
        event
        for event in events(folder, "rollouts")
        if event["role"] == "train" and event["step"] == step
    ]
    rows: list[dict[str, Any]] = pq.read_table(
        folder / "attempts/1/side" / result[0]["file"]["name"]
    ).to_pylist()
    return rows

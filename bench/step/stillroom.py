"""The trainer's `run` command on a job: `python -m bench.step.stillroom JOB`; prints JSON.

Everything is enabled: answers are verified, metrics are logged every step, rollouts are recorded
every fifth step, and one held-out problem is answered before and after.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.step.job import Clock, Job
from trainer import events
from trainer.text import run


def main() -> None:
    job = Job.read(Path(sys.argv[1]))
    clock = Clock()
    emit = events.EventLog.emit

    def ticking(log: events.EventLog, type: str, **fields: Any) -> None:
        emit(log, type, **fields)
        if type == "metrics" and "time/step_s" in fields["values"]:
            clock.tick(round(fields["values"]["length/mean"] * len(job.questions)))

    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory() as folder,
        patch.object(events.EventLog, "emit", ticking),
    ):
        code = run.start(_definition(job, Path(folder)), Path(folder))
    if code:
        raise SystemExit(code)
    json.dump(clock.report(), sys.stdout)


def _definition(job: Job, folder: Path) -> Path:
    for name, questions in {"train": job.questions, "held_out": (job.held_out,)}.items():
        rows = [json.dumps({"question": question, "answer": "0"}) for question in questions]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    sampling = {"max_new_tokens": job.longest}
    definition = {
        "version": 2,
        "seed": 0,
        "networks": {
            "student": {
                "model": f"file:{job.student}",
                "dtype": "bfloat16" if job.bfloat16 else "float32",
            },
            "teacher": {
                "kind": "model",
                "model": f"file:{job.teacher}",
                "dtype": "bfloat16" if job.bfloat16 else "float32",
            },
        },
        "data": {
            "train": {"kind": "file", "path": f"file:{folder / 'train.jsonl'}"},
            "evaluation": {"kind": "file", "path": f"file:{folder / 'held_out.jsonl'}"},
        },
        "pool": {
            "estimate": "never",
            "weighting": {"kind": "uniform"},
            "track_problems": 0,
            "sampling": sampling,
        },
        "stages": [
            {
                "name": "own",
                "problems_per_step": len(job.questions),
                "rollouts": {"generate": {"sampling": sampling}},
                "optimiser": {"learning_rate": 1e-12, "final_share": 1.0},
                "until": {"steps": job.steps},
            }
        ],
        "compute": {"device": "cpu", "threads": job.threads},
        "evaluation": {"every": 0, "final_samples": 1, "pass_at": [1], "sampling": sampling},
        "checkpoints": {"every": 0},
    }
    path = folder / "definition.json"
    path.write_text(json.dumps(definition))
    return path


if __name__ == "__main__":
    main()

"""A small distillation as its trainer would record it: every kind of event, with side files and a
checkpoint, taken in through `ingest`.

The numbers are made by rule, so that tests can name them: the held-out pass rate climbs from 0.40
by 0.02 at each evaluation, the loss falls as 2/√step, and problem p07 is solved 0, 1, 2, … of 8
times in successive measurements.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainer.text.recording import side_files
from webapp.access.models import Team, User
from webapp.ingest import event_log
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State

NOON = 1_760_000_000.0
K = 8
PROBLEMS = 24
EVERY = 10
STAGES: list[dict[str, Any]] = [
    {"name": "forward", "until": {"steps": 30}},
    {"name": "reverse", "until": {"steps": 30}},
]
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "paced on arithmetic",
    "recipe": "paced",
    "networks": {"student": {"model": "builtin:student"}, "teacher": {"model": "builtin:teacher"}},
    "data": {
        "train": {"kind": "arithmetic", "count": PROBLEMS},
        "retained": {"kind": "arithmetic", "count": 8},
    },
    "pool": {"weighting": {"kind": "paced", "alpha": 1.0, "beta": 1.0}},
    "stages": STAGES,
}
Events = list[dict[str, Any]]


class Recorder:
    """Writes one attempt of a run. `folder` is the attempt's; every call of a method is one batch
    of events.
    """

    def __init__(self, run: Run, folder: Path, clock: float = NOON) -> None:
        claimed = leases.claim(run.pk, "a-worker")
        assert claimed is not None, f"run {run.public_id} is {run.state}"
        self.run, self.folder, self.clock = run, folder, clock
        self.attempt, self.seq = claimed.number, 0

    def send(self, events: Events) -> None:
        event_log.ingest(
            self.run.pk, self.attempt, [self._numbered(event) for event in events], self.folder
        )
        self.run.refresh_from_db()

    def begin(self) -> None:
        """What comes before the first step: the problems, the pool's pass rates, the first
        evaluation.
        """
        table = [
            {
                "id": problem(i),
                "question": f"What is {i} + {i}?",
                "answer": str(2 * i),
                "domain": "add",
                "difficulty": "1",
            }
            for i in range(PROBLEMS)
        ]
        file = side_files.write(self.folder / "side", pa.Table.from_pylist(table))
        self.send(
            [
                {
                    "type": "environment",
                    "python": "3.11.2",
                    "platform": "Linux",
                    "device": "cpu",
                    "packages": {"torch": "2.13.0"},
                },
                {
                    "type": "progress",
                    "step": 0,
                    "total_steps": 60,
                    "stage": "forward",
                    "phase": "pass_rates",
                    "done": 1,
                    "of": 1,
                },
                {
                    "type": "problem_set",
                    "role": "train",
                    "fingerprint": "f1" * 16,
                    "count": PROBLEMS,
                    "set_aside": 0,
                    "file": file,
                },
                self._problems(0, "train", "initial"),
                self._problems(0, "tracked", "tracking"),
                {
                    "type": "metrics",
                    "step": 0,
                    "stage": "forward",
                    "values": {"pool/kept": 0.75, "pool/set_aside": 0.0},
                },
                *self._evaluation(0, "before"),
                {"type": "log", "level": "info", "message": "The pool keeps 18 of 24 problems."},
            ]
        )

    def train(self, first: int, last: int) -> None:
        """Steps from `first` to `last`, with an evaluation, rollouts and tracked problems at every
        tenth.
        """
        events: Events = [
            {
                "type": "progress",
                "step": first,
                "total_steps": 60,
                "stage": stage(first),
                "phase": "training",
                "done": first,
                "of": 60,
            }
        ]
        for step in range(first, last + 1):
            events.append(self._metrics(step))
            if step % EVERY == 0:
                events += [
                    *self._evaluation(step, "during"),
                    self._problems(step, "tracked", "tracking"),
                    self._rollouts(step),
                ]
        self.send(events)

    def checkpoint(self, step: int) -> None:
        folder = self.folder / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        files = {"student.safetensors": b"weights" * 100, "state.json": b"{}"}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        manifest = {
            "step": step,
            "files": {
                name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                for name, content in files.items()
            },
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        self.send(
            [
                {
                    "type": "checkpoint",
                    "step": step,
                    "stage": stage(step),
                    "folder": f"checkpoints/step-{step:08d}",
                    "bytes": 702,
                    "best": True,
                    "metrics": {"eval/pass_rate": rate(step)},
                }
            ]
        )

    def end(
        self, outcome: str = State.COMPLETED, reason: str = "All stages are done.", remedy: str = ""
    ) -> None:
        closing = self._evaluation(60, "after") if outcome == State.COMPLETED else []
        self.send(
            [*closing, {"type": "end", "outcome": outcome, "reason": reason, "remedy": remedy}]
        )
        leases.finish(self.run.pk, self.attempt, outcome, reason, remedy)
        self.run.refresh_from_db()

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        self.seq, self.clock = self.seq + 1, self.clock + 0.25
        return {
            "v": 1,
            "attempt": self.attempt,
            "seq": self.seq,
            "wall_time": self.clock,
            "monotonic": self.clock,
            **event,
        }

    def _metrics(self, step: int) -> dict[str, Any]:
        values = {
            "loss": 2 / math.sqrt(step),
            "divergence/mean": 1 / math.sqrt(step),
            "divergence/p99": 4 / math.sqrt(step),
            "grad_norm": 1 + math.sin(step) / 4,
            "learning_rate": 1e-3 * (1 - step / 80),
            "entropy/mean": 0.9 - step / 200,
            "length/mean": 12 - step / 20,
            "truncated/share": 0.2 - step / 400,
            "pass_rate/train": min(1.0, rate(step) + math.sin(3 * step) / 20),
            "tokens_per_second": 3800 + 100 * math.sin(step),
            "time/step_s": 0.3,
            "time_share/collect": 0.4 + math.sin(step) / 20,
            "time_share/sync": 0.0,
            "time_share/teacher": 0.2,
            "time_share/score": 0.0,
            "time_share/student": 0.3 - math.sin(step) / 20,
            "time_share/other": 0.1,
            "memory/rss_bytes": 6e8 + 1e6 * step,
        }
        return {
            "type": "metrics",
            "step": step,
            "stage": stage(step),
            "tokens": 480 * step,
            "compute": 1e9 * step,
            "values": values,
        }

    def _evaluation(self, step: int, when: str) -> Events:
        rates = {"evaluation": rate(step), "retained": 0.95 - step / 2000}
        events: Events = []
        for role, value in rates.items():
            prefix = {"evaluation": "eval", "retained": "retained"}[role]
            interval = [value - 0.04, value + 0.04]
            difference = (
                None
                if when == "before"
                else {
                    "pass_rate": value - {"evaluation": 0.4, "retained": 0.95}[role],
                    "interval": [0.01, 0.2] if role == "evaluation" else [-0.04, 0.01],
                }
            )
            group = {
                "by": "tier",
                "name": "frontier",
                "n": 120,
                "pass_rate": value,
                "interval": interval,
                "difference": difference,
            }
            events.append(
                {
                    "type": "evaluation",
                    "step": step,
                    "when": when,
                    "role": role,
                    "pass_rate": value,
                    "interval": interval,
                    "samples": 4,
                    "problems": 200,
                    "pass_at": {"1": value, "4": min(1.0, value + 0.2)},
                    "truncated": 0.05,
                    "groups": [group],
                    "difference": difference,
                }
            )
            values = {
                f"{prefix}/pass_rate": value,
                f"{prefix}/pass_rate/low": interval[0],
                f"{prefix}/pass_rate/high": interval[1],
            }
            events.append(
                {
                    "type": "metrics",
                    "step": step,
                    "stage": stage(step),
                    "tokens": 480 * step,
                    "compute": 1e9 * step,
                    "values": values,
                }
            )
        return events

    def _problems(self, step: int, role: str, reason: str) -> dict[str, Any]:
        passed = [passes(i, step) for i in range(PROBLEMS)]
        weights = [4 * p / K * (1 - p / K) for p in passed]
        return {
            "type": "problems",
            "step": step,
            "role": role,
            "reason": reason,
            "k": K,
            "ids": [problem(i) for i in range(PROBLEMS)],
            "passed": passed,
            "verdicts": [K] * PROBLEMS,
            "weights": weights,
        }

    def _rollouts(self, step: int) -> dict[str, Any]:
        rows = [answer(i, step, source) for i in range(4) for source in ("student", "teacher")]
        file = side_files.write(self.folder / "side", side_files.rollout_table(rows))
        index = [
            {
                **{
                    name: row[name]
                    for name in ("problem", "source", "sample", "verdict", "truncated", "weight")
                },
                "length": len(row["ids"]),
                "divergence": sum(row["divergence"]) / 4 if row["divergence"] else None,
                "excerpt": row["text"],
            }
            for row in rows
        ]
        return {
            "type": "rollouts",
            "step": step,
            "stage": stage(step),
            "role": "train",
            "file": file,
            "kept": len(rows),
            "of": 64,
            "index": index,
        }


def recorded(team: Team, owner: User, folder: Path, **facts: Any) -> Run:
    """A run from its first event to its last."""
    recorder = Recorder(lifecycle.create_run(team, owner, SPEC, **facts), folder)
    recorder.begin()
    recorder.train(1, 30)
    recorder.checkpoint(30)
    recorder.train(31, 60)
    recorder.end()
    return recorder.run


def problem(i: int) -> str:
    return f"p{i:02d}"


def stage(step: int) -> str:
    return "forward" if step <= 30 else "reverse"


def rate(step: int) -> float:
    return 0.4 + 0.02 * (step // EVERY)


def passes(i: int, step: int) -> int:
    """Of K answers: a third is mastered, a third hopeless, and the frontier between moves up."""
    if i >= 2 * PROBLEMS // 3:
        return K
    return min(K, max(0, i - 7 + step // EVERY)) if i >= 7 else 0


def answer(i: int, step: int, source: str) -> dict[str, Any]:
    """An answer of four tokens to problem i; the last but one is where the models disagree most."""
    by_student = source == "student"
    sum_stated = 2 * i + (i % 2 if by_student else 0)
    return {
        "problem": problem(i),
        "question": f"What is {i} + {i}?",
        "reference": str(2 * i),
        "sample": 0,
        "source": source,
        "prompt_ids": [1, 2],
        "ids": [3, 4, 5, 6],
        "tokens": ["The", " sum", f" {sum_stated}", "\n"],
        "text": f"The sum {sum_stated}\n",
        "answer": str(sum_stated),
        "verdict": sum_stated == 2 * i,
        "truncated": by_student and i == 3,
        "weight": 1.0,
        "student_logprob": [-0.1, -0.2, -1.5, -0.01] if by_student else None,
        "teacher_logprob": [-0.1, -0.3, -3.0 if by_student else -0.2, -0.01],
        "divergence": [0.004, 0.1, 2.5, 0.02] if by_student else None,
        "entropy": [0.1, 0.3, 1.2, 0.0] if by_student else None,
        "student_top": ["The", " sum", f" {2 * i + 1}", "\n"] if by_student else None,
        "teacher_top": ["The", " sum", f" {2 * i}", "\n"] if by_student else None,
    }

"""Small finished runs to compare, taken in through `ingest`: a curve, and the final evaluation with
its results by problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from tests.webapp.recorded import SPEC, Recorder, problem
from trainer.text.recording import side_files
from webapp.access.models import Team, User
from webapp.runs import leases, lifecycle
from webapp.runs.models import Run, State

ANSWERS = 4
CONDITIONS: dict[str, Any] = {
    "verifier": {"kind": "numeric"},
    "prompt": "{question}",
    "answer_limit": 64,
    "sampling": {"temperature": 0.0, "top_p": 1.0, "top_k": 0},
}


def definition(seed: int = 0, alpha: float = 1.0, **sections: Any) -> dict[str, Any]:
    """A definition with a seed and one setting that makes a difference."""
    spec = deepcopy({**SPEC, **sections, "seed": seed})
    spec["pool"]["weighting"]["alpha"] = alpha
    return spec


def solved(rate: float, problems: int = 40, seed: int = 0) -> list[int]:
    """How many of the answers to each problem are right, drawn with this rate."""
    counts: list[int] = np.random.default_rng(seed).binomial(ANSWERS, rate, problems).tolist()
    return counts


def compared(
    team: Team,
    owner: User,
    folder: Path,
    passed: Sequence[int] | None,
    spec: dict[str, Any] | None = None,
    name: str = "",
    steps: int = 3,
    fingerprint: str = "f1" * 16,
    extra: Sequence[dict[str, Any]] = (),
    answers: Sequence[Sequence[dict[str, Any]]] | None = None,
    **conditions: Any,
) -> Run:
    """A completed run whose final evaluation solved `passed` of the answers to each problem.

    None: a run of an earlier version, without results by problem. `answers` are those that are kept
    with the results.
    """
    spec = spec or definition()
    run = lifecycle.create_run(team, owner, {**spec, **({"name": name} if name else {})})
    return completed(run, folder, passed, steps, fingerprint, extra, answers, **conditions)


def completed(
    run: Run,
    folder: Path,
    passed: Sequence[int] | None,
    steps: int = 3,
    fingerprint: str = "f1" * 16,
    extra: Sequence[dict[str, Any]] = (),
    answers: Sequence[Sequence[dict[str, Any]]] | None = None,
    **conditions: Any,
) -> Run:
    """Let a queued run complete, with the results of `compared`."""
    recorder = Recorder(run, folder)
    rate = 0.5 if passed is None else sum(passed) / ANSWERS / len(passed)
    events: list[dict[str, Any]] = [
        _metrics(step, {"loss": 2.0 / step, "eval/pass_rate": rate * step / steps})
        for step in range(1, steps + 1)
    ]
    edges = {"eval/pass_rate/low": rate - 0.05, "eval/pass_rate/high": rate + 0.05}
    events.append(_metrics(steps, edges))
    if passed is not None:
        counts = np.array(passed), np.full(len(passed), ANSWERS)
        ids = [problem(i) for i in range(len(passed))]
        table = side_files.result_table(ids, *counts, answers)
        events.append(
            {
                "type": "evaluated",
                "step": steps,
                "when": "after",
                "role": "evaluation",
                "fingerprint": fingerprint,
                "problems": len(passed),
                "samples": ANSWERS,
                "conditions": {**CONDITIONS, **conditions},
                "file": side_files.write(folder / "side", table),
            }
        )
    recorder.send([*events, *extra])
    recorder.send([{"type": "end", "outcome": State.COMPLETED, "reason": "Done.", "remedy": ""}])
    leases.finish(run.pk, recorder.attempt, State.COMPLETED, "Done.", "")
    run.refresh_from_db()
    return run


def _metrics(step: int, values: dict[str, float]) -> dict[str, Any]:
    return {
        "type": "metrics",
        "step": step,
        "stage": "forward",
        "tokens": 480 * step,
        "compute": 1e9 * step,
        "values": values,
    }

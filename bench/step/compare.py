"""Loss-carrying tokens per second of Stillroom and of TRL, in turn, each in a fresh process."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.alternate import ratio
from bench.step import cases
from bench.step.job import Job
from bench.turns import ours, peer, take

STEPS, TURNS = 34, 3
# Four jobs of two contenders each: about 15 minutes on two idle cores.
MIDDLE_STEPS = 9
STILLROOM, TRL = "Stillroom", "TRL"


def measure_tiny() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return [_compare("tiny, float32", cases.tiny(STEPS), Path(folder))]


def measure_middle() -> list[dict[str, Any]]:
    rows = []
    for ragged in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            for bfloat16 in (False, True):
                job = cases.middle(
                    Path(folder), ragged=ragged, bfloat16=bfloat16, steps=MIDDLE_STEPS, threads=2
                )
                name = (
                    f"50M of 120M, {'ragged' if ragged else 'fixed'}, "
                    f"{'bfloat16' if bfloat16 else 'float32'}"
                )
                rows.append(_compare(name, job, Path(folder), turns=1))
    return rows


def measure_start() -> list[dict[str, Any]]:
    """From the process's start to the end of the first step."""
    with tempfile.TemporaryDirectory() as folder:
        results = _run(cases.tiny(steps=1), Path(folder), TURNS)
    first, cpu = (
        {contender: [turn[key] for turn in turns] for contender, turns in results.items()}
        for key in ("first_step_s", "first_step_cpu_s")
    )
    return [
        {
            "start": "process start to the end of the first step, tiny",
            "Stillroom s": statistics.median(first[STILLROOM]),
            "TRL s": statistics.median(first[TRL]),
            "Stillroom CPU s": statistics.median(cpu[STILLROOM]),
            "TRL CPU s": statistics.median(cpu[TRL]),
            "times faster": ratio(cpu[TRL], cpu[STILLROOM]),
        }
    ]


def _compare(name: str, job: Job, folder: Path, turns: int = TURNS) -> dict[str, Any]:
    results_by_contender = _run(job, folder, turns)
    cpu, wall = (
        {
            contender: [_tokens_per_second(turn, key) for turn in results]
            for contender, results in results_by_contender.items()
        }
        for key in ("cpu_s", "wall_s")
    )
    return {
        "step": name,
        "threads": job.threads,
        "tokens a step": statistics.fmean(
            token
            for results in results_by_contender.values()
            for turn in results
            for token in turn["tokens"]
        ),
        "Stillroom tokens/s": statistics.median(wall[STILLROOM]),
        "TRL tokens/s": statistics.median(wall[TRL]),
        "times faster": ratio(wall[STILLROOM], wall[TRL]),
        "by CPU time": ratio(cpu[STILLROOM], cpu[TRL]),
        "Stillroom peak GiB": max(turn["peak_gib"] for turn in results_by_contender[STILLROOM]),
        "TRL peak GiB": max(turn["peak_gib"] for turn in results_by_contender[TRL]),
    }


def _run(job: Job, folder: Path, turns: int) -> dict[str, list[dict[str, Any]]]:
    path = folder / "job.json"
    job.write(path)
    contenders = {
        STILLROOM: ours("bench.step.stillroom", str(path)),
        TRL: peer("bench.step.trl_trainer", str(path)),
    }
    return take(contenders, turns, job.threads)


def _tokens_per_second(turn: dict[str, Any], clock: str) -> float:
    """The median over the steps, so that a single delayed step does not count."""
    steps = zip(turn["tokens"], turn[clock], strict=True)
    return statistics.median(tokens / seconds for tokens, seconds in steps)

"""Rollouts per second of Stillroom's sampler and of transformers' `generate`.

Both use temperature 1 and the same prompts, rows and length limit. In the ragged setting answers do
not end by themselves: one in ten is four times as long as the others, and neither knows beforehand
which.
"""

from __future__ import annotations

import statistics
from typing import Any

from bench import contents, peers
from bench.alternate import ratio, seconds
from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample

PROBLEMS, SAMPLES, ROUNDS, ROWS = 64, 8, 5, (64, 256)


def measure() -> list[dict[str, Any]]:
    return [
        _compare(name, rows, ragged)
        for ragged in (True, False)
        for name in ("student", "teacher")
        for rows in ROWS
    ]


def _compare(name: str, rows: int, ragged: bool) -> dict[str, Any]:
    model = contents.model(name)
    requests = contents.requests(model, PROBLEMS, SAMPLES)
    if ragged:
        model, requests = contents.endless(model), contents.ragged(requests)
    law = Sampling(max_new_tokens=contents.LONGEST_ANSWER)
    cpu_seconds = seconds(
        {
            "stillroom": lambda number: sample(model, requests, law, Noise(0, number), rows=rows),
            "transformers generate": lambda number: peers.generate(
                model, requests, law.max_new_tokens, rows
            ),
        },
        ROUNDS,
    )
    answers = sample(model, requests, law, Noise(0, 0), rows=rows)
    per_second = {
        contender: PROBLEMS * SAMPLES / statistics.median(times)
        for contender, times in cpu_seconds.items()
    }
    return {
        "network": name,
        "lengths": "ragged" if ragged else "its own",
        "rows side by side": rows,
        "rollouts": PROBLEMS * SAMPLES,
        "mean length": statistics.fmean(answer.length for answer in answers),
        "longest": max(answer.length for answer in answers),
        "stillroom rollouts/s": per_second["stillroom"],
        "generate rollouts/s": per_second["transformers generate"],
        "times faster": ratio(cpu_seconds["transformers generate"], cpu_seconds["stillroom"]),
    }

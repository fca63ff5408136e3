"""`python -m trainer.text.builtin.measure [--problems N]`: how good the built-in pair is, a table.

One sampled answer (temperature 1) to each of N problems of every family and level, drawn among
those that neither model was trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product

import torch

from trainer.spec import NumericVerifier
from trainer.spec.networks import Network
from trainer.spec.sampling import Sampling
from trainer.text.builtin.make import PLANS
from trainer.text.builtin.pretrain import held_out
from trainer.text.language.models import load
from trainer.text.problems import Problem
from trainer.text.problems.arithmetic import LEVELS, POOL_FAMILIES, make
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.verifiers import Verifier

CELLS = [*product(POOL_FAMILIES, LEVELS), ("word", 1)]
LONGEST = 80


def unseen(family: str, level: int, count: int) -> list[Problem]:
    """At most `count` problems that the pair never saw; the small families have fewer."""
    # One question in ten is held out, so 800 give about 80.
    problems = make([family], [level], 800, seed=12345)
    return list(filter(held_out, problems))[:count]


def pass_rates(
    name: str, sampler: SamplerAndJudge, problems: Mapping[tuple[str, int], list[Problem]]
) -> dict[tuple[str, int], float]:
    """The pass rate of `builtin:<name>` on each family and level."""
    model = load(Network(model=f"builtin:{name}"))
    all_problems = [problem for cell in problems.values() for problem in cell]
    questions = sampler.questions(model, all_problems, LONGEST)
    answers = sampler.sample_answers(
        model,
        questions,
        [(0,)] * len(questions),
        Sampling(max_new_tokens=LONGEST),
        Noise(0, 0, "measure"),
    )
    passed = {answer.problem.id: bool(answer.verdict) for answer in answers}
    return {
        cell: sum(passed[problem.id] for problem in cell_problems) / len(cell_problems)
        for cell, cell_problems in problems.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the built-in teacher and student.")
    parser.add_argument("--problems", type=int, default=75, help="of each family and level")
    options = parser.parse_args()
    torch.set_num_threads(1)
    problems = {cell: unseen(*cell, options.problems) for cell in CELLS}
    print("| model | " + " | ".join(f"{family} {level}" for family, level in CELLS) + " |")
    print("|---" * (len(CELLS) + 1) + "|")
    with Verifier(NumericVerifier(), seconds=5.0) as verifier:
        for name in PLANS:
            rates = pass_rates(
                name, SamplerAndJudge(verifier, "{question}", rows=lambda: 256), problems
            )
            print(
                f"| {name} | " + " | ".join(f"{rates[cell]:.2f}" for cell in CELLS) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""One on-policy training step of the built-in pair: ours against a plain loop with transformers alone.

A step samples answers of the student, scores them with the teacher, differentiates the reverse KL and takes one AdamW step. Also
timed by itself is what follows the sampling, on the same answers for both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench import contents, peers
from bench.alternate import ratio, seconds
from trainer.spec.sampling import Sampling
from trainer.text.models import LanguageModel
from trainer.text.objectives.batch import micro_batches
from trainer.text.objectives.distillation import divergence
from trainer.text.objectives.reductions import token_coefficients
from trainer.text.rollouts.noise import Noise
from trainer.text.rollouts.sampling import sample

PROBLEMS, SAMPLES, ROUNDS, MICRO_BATCH = 48, 1, 12, 8192
LAW = Sampling(max_new_tokens=contents.LONGEST_ANSWER)


def measure() -> list[dict[str, Any]]:
    teacher = contents.model("teacher")
    ours, theirs = (_Student(teacher) for _ in range(2))
    whole = seconds(
        {
            "ours": lambda number: ours.step(lambda: ours.gradient(ours.sampled(number))),
            "theirs": lambda number: theirs.step(lambda: theirs.plain_gradient(theirs.generated())),
        },
        ROUNDS,
    )
    rows = ours.sampled(0)
    scored = seconds(
        {"ours": lambda _: ours.step(lambda: ours.gradient(rows)), "theirs": lambda _: theirs.step(lambda: theirs.plain_gradient(rows))},
        ROUNDS,
    )
    return [_row("sample, score, differentiate, update", whole), _row("score, differentiate, update", scored)]


def _row(what: str, taken: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "step": what,
        "answers": PROBLEMS * SAMPLES,
        "stillroom s": statistics.median(taken["ours"]),
        "plain transformers s": statistics.median(taken["theirs"]),
        "times faster": ratio(taken["theirs"], taken["ours"]),
    }


class _Student:
    """A student with its optimiser. The learning rate is so small that all steps are about the same work."""

    def __init__(self, teacher: LanguageModel) -> None:
        self.teacher, self.model = teacher, contents.model("student")
        self.requests = contents.requests(self.model, PROBLEMS, SAMPLES)
        self.optimiser = torch.optim.AdamW(self.model.model.parameters(), lr=1e-6)

    def step(self, gradient: Callable[[], None]) -> None:
        self.optimiser.zero_grad()
        gradient()
        torch.nn.utils.clip_grad_norm_(self.model.model.parameters(), 1.0)
        self.optimiser.step()

    def sampled(self, number: int) -> peers.Rows:
        return [(answer.prompt, answer.ids) for answer in sample(self.model, self.requests, LAW, Noise(0, number))]

    def generated(self) -> peers.Rows:
        return peers.generate(self.model, self.requests, LAW.max_new_tokens, PROBLEMS * SAMPLES)

    def gradient(self, rows: peers.Rows) -> None:
        lengths = [len(answer) for _, answer in rows]
        coefficients: tuple[Tensor, ...] = torch.split(
            token_coefficients([1.0] * len(rows), [1] * len(rows), lengths, "sequence_mean"), lengths
        )
        for group in micro_batches(rows, MICRO_BATCH):
            chosen, weights = [rows[place] for place in group], torch.cat([coefficients[place] for place in group])
            (divergence(self.model, self.teacher, chosen, weights, "reverse_kl").loss / len(rows)).backward()

    def plain_gradient(self, rows: peers.Rows) -> None:
        peers.reverse_kl_of_full_logits(self.model, self.teacher, rows).backward()

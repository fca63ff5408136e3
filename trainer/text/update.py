"""One weighted update of the student: Σ coefficient·divergence over the tokens of a round, in micro-batches that give the same gradient.

Shapes: rows are answers; coefficients run over ΣT, the tokens of all answers, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from trainer.engine.loop import Runtime
from trainer.spec import RunSpec, Stage
from trainer.text.answers import Answer
from trainer.text.materials import Materials
from trainer.text.objectives.batch import micro_batches
from trainer.text.objectives.distillation import TokenStatistics, divergence
from trainer.text.objectives.reductions import normaliser, token_coefficients

GROUP = "student"


@dataclass(frozen=True)
class Round:
    """B planned problems with their weights w̃ and answers: `answers[j]` is one of the `siblings` answers to problem `owners[j]`."""

    stage: Stage
    weights: Sequence[float]
    answers: Sequence[Answer]
    owners: Sequence[int]
    siblings: int

    @property
    def lengths(self) -> list[int]:
        return [len(answer.ids) for answer in self.answers]

    @property
    def rows(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        return [(answer.prompt, answer.ids) for answer in self.answers]

    @property
    def answer_weights(self) -> list[float]:
        return [self.weights[owner] for owner in self.owners]


def differentiate(materials: Materials, spec: RunSpec, round: Round, rt: Runtime) -> list[TokenStatistics]:
    """Hand the round's gradient to the loop; return the statistics of each answer."""
    stage, rows, lengths = round.stage, round.rows, round.lengths
    coefficients = token_coefficients(round.answer_weights, [round.siblings] * len(rows), lengths, stage.reduction)
    siblings = [round.siblings] * len(round.weights)
    rt.normalise(GROUP, normaliser(stage.reduction, spec.pool.normalisation, round.weights, siblings, lengths))
    parts = torch.split(coefficients.to(rt.device), lengths)
    found: dict[int, TokenStatistics] = {}
    computing = torch.autocast(rt.device.type, torch.bfloat16, enabled=spec.networks.student.dtype == "bfloat16")
    for chosen in micro_batches(rows, spec.compute.micro_batch_tokens):
        chosen_rows, chosen_coefficients = [rows[at] for at in chosen], torch.cat([parts[at] for at in chosen])
        with computing:
            result = divergence(
                materials.student, materials.teacher, chosen_rows, chosen_coefficients,
                stage.objective.kind, stage.objective.temperature, materials.vocabulary,
            )  # fmt: skip
        rt.backward(result.loss, GROUP)
        found |= zip(chosen, split(result.tokens, [lengths[at] for at in chosen]), strict=True)
    return [found[at] for at in range(len(rows))]


def split(statistics: TokenStatistics, lengths: Sequence[int]) -> list[TokenStatistics]:
    """Cut statistics over [ΣT] into one per row."""
    columns = {field.name: torch.split(getattr(statistics, field.name), list(lengths)) for field in fields(statistics)}
    return [TokenStatistics(**{name: parts[at] for name, parts in columns.items()}) for at in range(len(lengths))]


def token_metrics(statistics: Sequence[TokenStatistics]) -> dict[str, float]:
    divergences = torch.cat([part.divergence for part in statistics]).double().cpu().numpy()
    entropies = torch.cat([part.entropy for part in statistics]).double().cpu().numpy()
    return {
        "divergence/mean": float(divergences.mean()),
        "divergence/p99": float(np.quantile(divergences, 0.99)),
        "entropy/mean": float(entropies.mean()),
    }

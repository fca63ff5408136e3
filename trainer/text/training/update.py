"""One weighted update of the student, split into micro-batches that give the same gradient.

Shapes: rows are answers; coefficients run over ΣT, the tokens of all answers, row by row; K
counting tokens of a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainer.engine.loop import Runtime
from trainer.spec import Clip, Need, Objective, RunSpec, SelectedTokens, Stage
from trainer.text.language.hidden_states import micro_batches
from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.objectives.reductions import normaliser, token_coefficients
from trainer.text.objectives.surrogates import ClipKind
from trainer.text.recording.token_columns import gather_rows, split
from trainer.text.rollouts.records import RATIO, TrainRow
from trainer.text.training.micro_batch_loss import MicroBatch, MicroBatchLoss, empty_statistics
from trainer.text.training.teacher_states import TeacherStates

GROUP = "student"


@dataclass(frozen=True)
class TrainRound:
    """Problems with their weights w̃, and the rows to train on, problem by problem.

    The problems are those that the controller trains on, whether or not a row of them is left;
    `TrainRow.owner` is an index of `weights`. `own_rows` are the indices of the rows that this rank
    computes. An update on a part of the problems has their indices in `problems` (`minibatches`).
    """

    stage: Stage
    weights: Sequence[float]
    rows: Sequence[TrainRow]
    states: TeacherStates
    own_rows: Sequence[int]
    problems: frozenset[int] | None = None

    def includes(self, problem: int) -> bool:
        return self.problems is None or problem in self.problems


def compute_gradients(
    loss_function: MicroBatchLoss, spec: RunSpec, round: TrainRound, rt: Runtime
) -> list[TokenStatistics]:
    """Compute the gradient of an update for the loop; return the statistics of each of its rows."""
    stage, rows = round.stage, round.rows
    # Z is that of the whole update, the same on every rank: micro-batches and ranks only add up.
    rt.normalise(GROUP, loss_normaliser(spec, round))
    row_coefficients = [tensor.to(rt.device) for tensor in coefficients(round)]
    # Rows that no micro-batch contains keep empty statistics.
    statistics_by_row = {
        index: empty_statistics(len(rows[index].answer.ids), rt.device) for index in round.own_rows
    }
    micro_batches_of_rank = batches(rows, rt.micro_batch_tokens, round.own_rows, stage.objective)
    for number in range(rt.micro_batches_to_run(len(micro_batches_of_rank), GROUP)):
        # A rank with fewer micro-batches repeats one with share 0: all ranks must take part in
        # every one.
        indices, share = (
            (micro_batches_of_rank[number], 1.0)
            if number < len(micro_batches_of_rank)
            else (list(round.own_rows[:1]) or [0], 0.0)
        )
        batch = _micro_batch(round, indices, [share * row_coefficients[index] for index in indices])
        loss, statistics = rt.forward(
            partial(loss_function, batch, stage.objective, stage.logit_temperature), GROUP
        )
        rt.backward(loss, GROUP)
        if share:
            statistics_by_row |= zip(indices, split(statistics, batch.lengths), strict=True)
    return gather_rows(statistics_by_row, rt.world)


def _micro_batch(
    round: TrainRound, indices: Sequence[int], coefficients: Sequence[Tensor]
) -> MicroBatch:
    rows = [round.rows[index] for index in indices]
    return MicroBatch(rows, indices, torch.cat(list(coefficients)), round.states)


def loss_normaliser(spec: RunSpec, round: TrainRound) -> float:
    """Z of the update.

    It counts all problems and rows admitted to it, also those without a token that is trained on,
    unless the stage takes means over kept answers.
    """
    longest = round.stage.rollouts.generate.sampling.max_new_tokens
    rows = [row for row in round.rows if round.includes(row.owner)]
    problems = [problem for problem in range(len(round.weights)) if round.includes(problem)]
    if round.stage.renormalise_by_kept:
        rows = [row for row in rows if kept(row) and row.row_weight]
        with_rows = {row.owner for row in rows}
        problems = [problem for problem in problems if problem in with_rows]
    return normaliser(
        round.stage.reduction,
        spec.pool.normalisation,
        [round.weights[problem] for problem in problems],
        [row.weight for row in rows],
        [kept(row) for row in rows],
        longest,
    )


def coefficients(round: TrainRound) -> list[Tensor]:
    """Coefficient of each token of each row before division by Z: [T] for every row."""
    rows = [row for row in round.rows if kept(row)]
    kept_rows = Counter(row.owner for row in rows if row.row_weight)
    counting = token_coefficients(
        [row.weight for row in rows],
        [
            # A problem of which no row is kept has only coefficients of 0.
            kept_rows[row.owner] or 1 if round.stage.renormalise_by_kept else row.siblings
            for row in rows
        ],
        [kept(row) for row in rows],
        round.stage.reduction,
    )
    shares = iter(counting.split([kept(row) for row in rows]))
    return [
        _at_counting_tokens(row, next(shares)) if kept(row) else torch.zeros(len(row.answer.ids))
        for row in round.rows
    ]


def kept(row: TrainRow) -> int:
    """Number of tokens of a row with a coefficient other than 0."""
    return int(np.count_nonzero(row.coefficients))


def trains_student(row: TrainRow, objective: Objective) -> bool:
    """Whether a row can change the student.

    Its weights, a coefficient and, where only advantages count, one of these must not be 0.
    """
    if not row.weight or not row.row_weight or not kept(row):
        return False
    if not objective.learns_by_advantage_alone:
        return True
    # A divergence or a likelihood has a gradient without any advantage.
    ratios_only = bool((row.kinds[row.coefficients != 0] == RATIO).all())
    return not ratios_only or row.advantages is None or bool(row.advantages.any())


def batches(
    rows: Sequence[TrainRow], tokens: int, own_rows: Sequence[int], objective: Objective
) -> list[list[int]]:
    """Micro-batches of row indices among `own_rows`, of one teacher each.

    Rows that cannot change the student are left out.
    """
    row_batches = []
    # `TeacherStates.logits` applies one head to a micro-batch.
    for teacher in dict.fromkeys(rows[index].teacher for index in own_rows):
        indices = [
            index
            for index in own_rows
            if rows[index].teacher == teacher and trains_student(rows[index], objective)
        ]
        texts = [(rows[index].answer.prompt, rows[index].answer.ids) for index in indices]
        row_batches += [
            [indices[position] for position in batch] for batch in micro_batches(texts, tokens)
        ]
    return row_batches


def token_metrics(round: TrainRound, statistics: Sequence[TokenStatistics]) -> dict[str, float]:
    """Metrics over the computed tokens of an update; one without any value is left out."""
    if not statistics:
        return {}
    divergences, entropies, capped = (
        _without_nan(torch.cat([getattr(row_statistics, name) for row_statistics in statistics]))
        for name in ("divergence", "entropy", "capped")
    )
    values = {"entropy/mean": float(entropies.mean())} if len(entropies) else {}
    if len(divergences):
        values |= {
            "divergence/mean": float(divergences.mean()),
            "divergence/p99": float(np.quantile(divergences, 0.99)),
        }
    if Need.OLD_LOGPROB in round.stage.objective.needs and len(capped):
        values |= {"ratio/clipped_share": float((capped != ClipKind.NONE).mean())} | {
            f"ratio/clipped_{kind.name.lower()}_share": float((capped == kind).mean())
            for kind in ClipKind
            if kind is not ClipKind.NONE
        }
    if isinstance(getattr(round.stage.objective, "clip", None), Clip) and len(capped):
        values["tokens/capped_share"] = float(capped.mean())
    if isinstance(round.stage.tokens, SelectedTokens):
        rows = [row for row in round.rows if round.includes(row.owner)]
        values["tokens/kept_share"] = sum(map(kept, rows)) / sum(
            len(row.answer.ids) for row in rows
        )
    return values


def _at_counting_tokens(row: TrainRow, shares_K: Tensor) -> Tensor:
    """Spread shares [K] over the row's tokens [T] and multiply by the tokens' coefficients."""
    own_T = torch.from_numpy(row.coefficients).double() * row.row_weight
    spread_T = torch.zeros_like(own_T)
    counting_T = torch.from_numpy(row.coefficients != 0)
    spread_T[counting_T] = shares_K * own_T[counting_T]
    return spread_T


def _without_nan(values_T: Tensor) -> np.ndarray:
    values = values_T.double().cpu().numpy()
    return np.asarray(values[~np.isnan(values)])

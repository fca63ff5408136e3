"""One update on preference pairs.

    loss = (1/Z) Σ_p w̃_p ℓ_p,    Z = number of pairs p of the update

A pair is the unit of micro-batches and of the division among ranks: both of its answers are
computed together. With weights normalised in each batch Z is Σ_p w̃_p.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from trainer.engine.loop import Runtime
from trainer.spec import DPO, RunSpec
from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.objectives.dpo import PairLogprobs, margin
from trainer.text.recording.token_columns import gather_rows, split
from trainer.text.rollouts.records import TrainRow
from trainer.text.training.pair_loss import PairBatch, PairLoss, both_sides, pair_micro_batches
from trainer.text.training.update import GROUP, TrainRound


def compute_pair_gradients(
    loss_function: PairLoss, spec: RunSpec, round: TrainRound, rt: Runtime
) -> tuple[list[TokenStatistics], dict[str, float]]:
    """Compute the gradient of an update; return each row's statistics and the pairs' metrics."""
    objective = round.stage.objective
    assert isinstance(objective, DPO)
    rt.normalise(GROUP, pair_normaliser(spec, round))
    own_rows = list(round.own_rows)
    texts = [_text(round.rows[index]) for index in own_rows]
    batches = pair_micro_batches(texts, rt.micro_batch_tokens)
    statistics: dict[int, TokenStatistics] = {}
    logprobs: list[PairLogprobs] = []
    for number in range(rt.micro_batches_to_run(len(batches), GROUP)):
        # A rank with fewer micro-batches repeats one with share 0: all ranks must take part in
        # every one.
        share = 1.0 if number < len(batches) else 0.0
        rows = both_sides(own_rows, batches[number]) if share else (own_rows[:2] or [0, 1])
        batch = _pair_batch([round.rows[index] for index in rows], share, rt.device)
        loss, batch_logprobs, columns = rt.forward(partial(loss_function, batch, objective), GROUP)
        rt.backward(loss, GROUP)
        if share:
            logprobs.append(batch_logprobs)
            lengths = [len(answer) for _, answer in batch.texts]
            statistics |= zip(rows, split(columns, lengths), strict=True)
    return gather_rows(statistics, rt.world), _metrics(objective, round, logprobs, rt)


def pair_normaliser(spec: RunSpec, round: TrainRound) -> float:
    """Z of the update: the number of its pairs, or the sum of their weights."""
    weights = [
        row.weight for row in round.rows if row.side == "chosen" and round.includes(row.owner)
    ]
    self_normalised = spec.pool.normalisation == "batch_self_norm"
    return (sum(weights) if self_normalised else float(len(weights))) or 1.0


def _text(row: TrainRow) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return row.answer.prompt, row.answer.ids


def _pair_batch(rows: Sequence[TrainRow], share: float, device: torch.device) -> PairBatch:
    return PairBatch(
        [_text(row) for row in rows],
        torch.tensor(
            [row.reference_answer_logprob for row in rows], dtype=torch.float64, device=device
        ),
        torch.tensor([share * row.weight for row in rows[::2]], dtype=torch.float64, device=device),
    )


def _metrics(
    objective: DPO, round: TrainRound, logprobs: Sequence[PairLogprobs], rt: Runtime
) -> dict[str, float]:
    """Means over all pairs of the update, before it."""
    columns = [
        (pairs.chosen, pairs.rejected, margin(objective, pairs), margin(objective, pairs) > 0)
        for pairs in logprobs
    ]
    own = [
        tuple(float(value) for value in pair)
        for batch in columns
        for pair in zip(*batch, strict=True)
    ]
    pairs = rt.world.concatenate(own)
    if not pairs:
        return {}
    names = ("chosen_logprob", "rejected_logprob", "margin", "accuracy")
    values = {
        f"pairs/{name}": sum(column) / len(pairs)
        for name, column in zip(names, zip(*pairs, strict=True), strict=True)
    }
    for side in ("chosen", "rejected"):
        lengths = [
            len(row.answer.ids)
            for row in round.rows
            if row.side == side and round.includes(row.owner)
        ]
        values[f"pairs/{side}_length"] = sum(lengths) / len(lengths)
    return values

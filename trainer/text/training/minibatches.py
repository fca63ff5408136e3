"""The updates of a round: which of its problems each one learns from.

    round: E inner epochs × M minibatches = E · M updates; update u is minibatch u mod M of epoch
    u div M

Every epoch divides all problems among its minibatches at random. The answers to a problem stay
together, so that a minibatch has the problem's whole mean over them. Each update has a Z of its
own. The weights that sampled the answers are the old policy of all updates: anchors, advantages and
teacher states are computed once for the round.

Source: PPO, arXiv 1707.06347, algorithm 1 (K epochs, minibatches of size M).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.text.training.update import TrainRound

# Apart from the order of problems, which is drawn from (seed, step, pass).
PURPOSE = 1


def minibatch(round: TrainRound, update: int, seed: int, step: int) -> TrainRound:
    """Return the part of a round that its update number `update` (from 0) learns from.

    It follows from (seed, step, epoch) alone. A round with fewer problems than minibatches has
    empty ones, whose updates change nothing.
    """
    stage = round.stage
    if stage.minibatches == 1:
        return round
    epoch, index = divmod(update, stage.minibatches)
    generator = np.random.Generator(np.random.PCG64([seed, step, epoch, PURPOSE]))
    order = generator.permutation(len(round.weights))
    problems = frozenset(np.array_split(order, stage.minibatches)[index].tolist())
    return replace(
        round,
        problems=problems,
        own_rows=[index for index in round.own_rows if round.rows[index].owner in problems],
    )

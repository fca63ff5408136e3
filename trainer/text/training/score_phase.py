"""The score phase of a round: what student and teachers say of its tokens before anything is
learnt, and which tokens that selects.

Scores are taken over the whole round, because they are scaled by its largest and smallest (TIP,
arXiv 2604.14084, section 3). Entropies that the sampler noted are used as they are; whatever
compares with the teacher takes one more pass of the student without gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.spec import PolicyGradient, SelectedTokens, Stage
from trainer.text.language.heads import head_of
from trainer.text.language.models import LanguageModel
from trainer.text.objectives.batch import completion_ids, micro_batches, response_hidden
from trainer.text.objectives.linear_divergence import TokenScores, score_tokens
from trainer.text.recording.token_columns import split, to_cpu
from trainer.text.rollouts.engines.noise import Noise, rollout_keys
from trainer.text.rollouts.records import DIVERGENCE, RATIO, TrainRow
from trainer.text.training.teacher_states import TeacherStates
from trainer.text.training.token_importance import select

AXES = ("entropy", "reverse_kl", "forward_kl")


@dataclass(frozen=True)
class Selection:
    """The rows, with coefficients 0 at the tokens that are left out, and the scores [T] of each row
    where they were taken.
    """

    rows: list[TrainRow]
    scores: list[TokenScores] | None = None


def score_and_select(
    student: LanguageModel, rows: list[TrainRow], states: TeacherStates, stage: Stage, noise: Noise, tokens: int, watched: bool,
    own: Sequence[int], world: World,
) -> Selection:  # fmt: skip
    """Score the rows where the stage needs it, and leave out the tokens that it does not learn
    from. Each rank scores the rows `own`.

    `watched` scores a selection that does not need it, too, so that it can be shown what was left
    out; it changes no choice.
    """
    needed = _needs_scores(rows, stage)
    if not (needed or (watched and _can_show(rows, stage))):
        return Selection(_masked(rows, stage, noise, None))
    temperature = (
        stage.objective.temperature if isinstance(stage.objective, PolicyGradient) else 1.0
    )
    scores = _shared(
        score_rows(student, rows, states, tokens, own, temperature), own, len(rows), world
    )
    return Selection(_masked(rows, stage, noise, scores if needed else None), scores)


@torch.no_grad()
def score_rows(
    student: LanguageModel,
    rows: Sequence[TrainRow],
    states: TeacherStates,
    tokens: int,
    own: Sequence[int],
    temperature: float = 1.0,
) -> list[TokenScores]:
    """Scores [T] of the rows at the places `own`, in that order; `tokens` ids at a time."""
    found: dict[int, TokenScores] = {}
    for teacher in dict.fromkeys(rows[place].teacher for place in own):
        places = [place for place in own if rows[place].teacher == teacher]
        read = [(rows[place].answer.prompt, rows[place].answer.ids) for place in places]
        for chosen in micro_batches(read, tokens):
            group = [read[at] for at in chosen]
            hidden_TH, ids_T = response_hidden(student, group), completion_ids(group)
            every_T = torch.ones(len(ids_T), dtype=torch.bool, device=hidden_TH.device)
            logits = states.logits([places[at] for at in chosen], every_T)
            scored = score_tokens(
                hidden_TH,
                head_of(student.model),
                logits,
                ids_T.to(hidden_TH.device),
                vocabulary=states.vocabulary,
                temperature=temperature,
            )
            found |= zip(
                (places[at] for at in chosen),
                split(scored, [len(ids) for _, ids in group]),
                strict=True,
            )
    return [found[place] for place in own]


def _needs_scores(rows: Sequence[TrainRow], stage: Stage) -> bool:
    if isinstance(stage.objective, PolicyGradient):
        return True
    if not isinstance(stage.tokens, SelectedTokens) or stage.tokens.score == "random":
        return False
    return stage.tokens.score != "entropy" or any(
        row.edited or row.answer.entropies is None or row.answer.source != "student" for row in rows
    )


def _shared(
    scores: list[TokenScores], own: Sequence[int], count: int, world: World
) -> list[TokenScores]:
    """The scores of all rows, of which this rank has taken those of its own."""
    if world.size == 1:
        by_index = dict(zip(own, scores, strict=True))
    else:
        by_index = dict(world.gather(list(zip(own, map(to_cpu, scores), strict=True))))
    return [by_index[place] for place in range(count)]


def _can_show(rows: Sequence[TrainRow], stage: Stage) -> bool:
    return isinstance(stage.tokens, SelectedTokens) and all(row.teacher for row in rows)


def _masked(
    rows: list[TrainRow], stage: Stage, noise: Noise, scores: list[TokenScores] | None
) -> list[TrainRow]:
    """Only what is compared with the teacher, or whose ratio counts, is selected from; a confidence
    that is to be learnt stays.
    """
    if not isinstance(stage.tokens, SelectedTokens) or not rows:
        return rows
    open_to_choice = [
        (row.coefficients != 0) & np.isin(row.kinds, (DIVERGENCE, RATIO)) for row in rows
    ]
    columns = [
        np.concatenate(_column(rows, scores, name))[np.concatenate(open_to_choice)] for name in AXES
    ]
    keys = rollout_keys(noise, [(row.answer.problem.id, row.answer.sample) for row in rows])
    lengths = [int(mask.sum()) for mask in open_to_choice]
    chosen = np.split(
        select(stage.tokens, *columns, lengths=lengths, keys=keys), np.cumsum(lengths)[:-1]
    )
    return [
        _keep(row, mask, part) for row, mask, part in zip(rows, open_to_choice, chosen, strict=True)
    ]


def _keep(row: TrainRow, open_to_choice: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> TrainRow:
    coefficients = row.coefficients.copy()
    coefficients[open_to_choice] = np.where(chosen, coefficients[open_to_choice], 0)
    return replace(row, coefficients=coefficients)


def _column(
    rows: Sequence[TrainRow], scores: Sequence[TokenScores] | None, name: str
) -> list[NDArray[np.float64]]:
    """One score of every row's tokens [T]; without scores, what the sampler noted."""
    if scores is not None:
        return [np.asarray(getattr(score, name).double().cpu().numpy()) for score in scores]
    noted = [row.answer.entropies for row in rows]
    return [
        np.zeros(len(row.answer.ids)) if one is None else one.astype(np.float64)
        for row, one in zip(rows, noted, strict=True)
    ]

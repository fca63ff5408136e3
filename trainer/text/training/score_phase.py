"""The score phase of a round: token scores of student and teachers, and the selection from them.

Scores cover the whole round, because they are scaled by its maximum and minimum (TIP, arXiv
2604.14084, section 3). Entropies that the sampler recorded are used as they are; a comparison with
the teacher takes one more forward pass of the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.spec import TOKEN_SCORES, Need, SelectedTokens, Stage
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import completion_ids, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_divergence import TokenScores, score_tokens
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.recording.token_columns import gather_rows, split
from trainer.text.rollouts.engines.noise import Noise, rollout_keys
from trainer.text.rollouts.records import DIVERGENCE, RATIO, TrainRow
from trainer.text.training.teacher_states import TeacherStates
from trainer.text.training.token_importance import select

# Names of the fields of TokenScores that a selection may use.
AXES = ("entropy", "reverse_kl", "forward_kl")


@dataclass(frozen=True)
class Selection:
    """Rows with coefficient 0 at the tokens left out, and scores [T] of each row where computed."""

    rows: list[TrainRow]
    scores: list[TokenScores] | None = None


def score_and_select(
    student: LanguageModel,
    rows: list[TrainRow],
    states: TeacherStates,
    stage: Stage,
    noise: Noise,
    tokens: int,
    record_scores: bool,
    own_rows: Sequence[int],
    world: World,
) -> Selection:
    """Score the rows where the stage needs it, and set coefficients of unselected tokens to 0.

    Each rank scores the rows `own_rows`. `record_scores` also computes scores that the selection
    does not need, so that the left-out tokens can be shown; it changes no choice.
    """
    needed = _needs_scores(rows, stage)
    can_be_recorded = isinstance(stage.tokens, SelectedTokens) and all(row.teacher for row in rows)
    if not (needed or (record_scores and can_be_recorded)):
        return Selection(_with_selection(rows, stage, noise, None))
    # A divergence is measured at temperature 1, whatever temperature it is trained at.
    temperature = stage.logit_temperature if _learns_from_logprob(stage) else 1.0
    own_scores = score_rows(student, rows, states, tokens, own_rows, temperature)
    scores = gather_rows(dict(zip(own_rows, own_scores, strict=True)), world)
    # Scores for recording alone are withheld from the selection: they differ by rounding from the
    # sampler's entropies, and recording must not change a choice.
    return Selection(_with_selection(rows, stage, noise, scores if needed else None), scores)


@torch.no_grad()
def score_rows(
    student: LanguageModel,
    rows: Sequence[TrainRow],
    states: TeacherStates,
    tokens: int,
    row_indices: Sequence[int],
    temperature: float = 1.0,
) -> list[TokenScores]:
    """Return scores [T] of the rows at `row_indices`, in that order, `tokens` ids at a time.

    They are NaN, and −1 for ids, where the teacher does not tell enough, or could not read the row.
    """
    scores_by_row: dict[int, TokenScores] = {}
    for index in row_indices:
        if not states.gives_distribution(index):
            scores_by_row[index] = _without_distribution(student, rows[index], states, index)
    # One teacher at a time: each has its own head.
    scored_rows = [index for index in row_indices if index not in scores_by_row]
    for teacher in dict.fromkeys(rows[index].teacher for index in scored_rows):
        indices = [index for index in scored_rows if rows[index].teacher == teacher]
        texts = [(rows[index].answer.prompt, rows[index].answer.ids) for index in indices]
        for batch in micro_batches(texts, tokens):
            batch_texts = [texts[position] for position in batch]
            hidden_TH, ids_T = response_hidden(student, batch_texts), completion_ids(batch_texts)
            every_T = torch.ones(len(ids_T), dtype=torch.bool, device=hidden_TH.device)
            logits = states.logits([indices[position] for position in batch], every_T)
            scored = score_tokens(
                hidden_TH,
                head_of(student.model),
                logits,
                ids_T.to(hidden_TH.device),
                vocabulary=states.vocabulary,
                temperature=temperature,
            )
            scores_by_row |= zip(
                (indices[position] for position in batch),
                split(scored, [len(ids) for _, ids in batch_texts]),
                strict=True,
            )
    return [scores_by_row[index] for index in row_indices]


def _without_distribution(
    student: LanguageModel, row: TrainRow, states: TeacherStates, index: int
) -> TokenScores:
    """Return what is known of a row whose teacher gives the log-probs of its tokens at most."""
    count = len(row.answer.ids)
    unknown = torch.full((count,), torch.nan, device=student.device)
    no_id = torch.full((count,), -1, device=student.device)
    entropy, student_logprob, teacher_logprob = unknown, unknown, unknown
    if index not in states.unread:
        texts = [(row.answer.prompt, row.answer.ids)]
        student_logprob, entropy = linear_logprob(
            response_hidden(student, texts),
            head_of(student.model),
            completion_ids(texts).to(student.device),
            vocabulary=states.vocabulary,
        )
        teacher_logprob = states.logprobs(index).to(student_logprob)
    return TokenScores(entropy, unknown, unknown, student_logprob, teacher_logprob, no_id, no_id)


def _needs_scores(rows: Sequence[TrainRow], stage: Stage) -> bool:
    if _learns_from_logprob(stage):
        return True
    if not isinstance(stage.tokens, SelectedTokens):
        return False
    score = TOKEN_SCORES[stage.tokens.score]
    # The sampler's entropies belong to the ids that the student wrote; edited and teacher answers
    # have none.
    return score.compares_with_teacher or (
        "entropy" in score.uses
        and any(
            row.edited or row.answer.entropies is None or row.answer.source != "student"
            for row in rows
        )
    )


def _learns_from_logprob(stage: Stage) -> bool:
    """Whether the objective needs the teacher's log-prob of each sampled token."""
    return Need.TEACHER_LOGPROB in stage.objective.needs


def _with_selection(
    rows: list[TrainRow], stage: Stage, noise: Noise, scores: list[TokenScores] | None
) -> list[TrainRow]:
    """Select among tokens trained by divergence or ratio; a confidence to learn always stays."""
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
    selections = np.split(
        select(stage.tokens, *columns, lengths=lengths, keys=keys), np.cumsum(lengths)[:-1]
    )
    selected_rows = []
    for row, mask, selection in zip(rows, open_to_choice, selections, strict=True):
        # A copy: the row from before the selection shares the array.
        coefficients = row.coefficients.copy()
        coefficients[mask] = np.where(selection, coefficients[mask], 0)
        selected_rows.append(replace(row, coefficients=coefficients))
    return selected_rows


def _column(
    rows: Sequence[TrainRow], scores: Sequence[TokenScores] | None, name: str
) -> list[NDArray[np.float64]]:
    """One score of every row's tokens [T]; without scores, the sampler's entropies."""
    if scores is not None:
        return [np.asarray(getattr(score, name).double().cpu().numpy()) for score in scores]
    sampler_entropies = [row.answer.entropies for row in rows]
    return [
        np.zeros(len(row.answer.ids)) if entropy is None else entropy.astype(np.float64)
        for row, entropy in zip(rows, sampler_entropies, strict=True)
    ]

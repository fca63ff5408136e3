"""The confidence of an answer, from the model's probabilities instead of one sample.

    stated     the number that the answer states (codec.py)
    expected   E[value] = Σ_l v_l p_l over the levels v_l, with p_l ∝ the probability of stating
               v_l after the answer's reasoning. The words that all levels share cancel, so if a
               level is one token this is the softmax over the level tokens. A sampled number is
               one draw from this distribution; its mean is more precise than one draw.
    answer     exp of the mean log-probability of the answer's tokens

All are at temperature 1, from raw logits. Shapes: T tokens of an answer, L levels, V vocabulary.
Nothing here has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from trainer.text.calibration.codec import LEVELS, Codec
from trainer.text.calibration.tokens import statement_ids, with_confidence
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import Row, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import decode


def answer_confidence(logprobs_T: ArrayLike, selected_T: ArrayLike | None = None) -> float | None:
    """Return exp(mean log-probability) of the selected tokens, in 0 … 1, or None without tokens.

    This is the geometric mean of their probabilities. `selected_T` None selects all; leave out the
    tokens of a stated confidence with `~confidence_tokens(…)`.
    """
    logprobs = np.asarray(logprobs_T, np.float64)
    selected = logprobs if selected_T is None else logprobs[np.asarray(selected_T, bool)]
    return math.exp(selected.mean()) if selected.size else None


@torch.no_grad()
def expected_confidence(
    language_model: LanguageModel,
    rows: Sequence[Row],
    codec: Codec,
    levels: Sequence[float] = LEVELS,
    tokens: int = 16384,
) -> list[float | None]:
    """Return E[value] of each row (prompt ids, answer ids).

    It is None for an answer whose own statement is missing or has a problem. `levels` are the
    possible values: with K rollouts as targets, k/K. `tokens` is the number of ids read at a time.
    """
    readable = [
        index
        for index, (_, ids) in enumerate(rows)
        if not codec.read(decode(language_model, ids)).problem
    ]
    prefixes = [_reasoning(codec, language_model, rows[index]) for index in readable]
    scores_NL = _level_logprobs(
        language_model,
        prefixes,
        [statement_ids(codec, language_model, level) for level in levels],
        tokens,
    )
    values_L = torch.tensor([codec.rounded(level) for level in levels], dtype=torch.float64)
    expected = dict(zip(readable, (scores_NL.softmax(-1) @ values_L).tolist(), strict=True))
    return [expected.get(index) for index in range(len(rows))]


def _reasoning(codec: Codec, language_model: LanguageModel, row: Row) -> tuple[int, ...]:
    """Return prompt and answer up to the position where a statement begins."""
    prompt, ids = row
    stated = with_confidence(codec, language_model, ids, 0.0)
    return (*prompt, *stated.ids[: stated.start])


def _level_logprobs(
    language_model: LanguageModel,
    prefixes: Sequence[tuple[int, ...]],
    statements: list[list[int]],
    tokens: int,
) -> Tensor:
    """Return log p(statement_l | prefix_n), float64 [N, L].

    Statements that differ only in their last token are read in one pass.
    """
    shared = list(dict.fromkeys(tuple(statement[:-1]) for statement in statements))
    # The 0 is never read: the last token of a completion only asks for the position before it.
    rows: list[Row] = [(ids, (*common, 0)) for ids in prefixes for common in shared]
    scores_NL = torch.empty(len(prefixes), len(statements), dtype=torch.float64)
    for group in micro_batches(rows, tokens):
        logprobs = _next_logprobs(language_model, [rows[index] for index in group])
        for index, logprobs_TV in zip(group, logprobs, strict=True):
            common = shared[index % len(shared)]
            before = sum(float(logprobs_TV[position, id]) for position, id in enumerate(common))
            for level, statement in enumerate(statements):
                if tuple(statement[:-1]) == common:
                    scores_NL[index // len(shared), level] = before + float(
                        logprobs_TV[-1, statement[-1]]
                    )
    return scores_NL


def _next_logprobs(language_model: LanguageModel, rows: Sequence[Row]) -> Sequence[Tensor]:
    """Return log p over the vocabulary at each token of the completions, [T, V] per row."""
    hidden_TH = response_hidden(language_model, rows)
    logits_TV = head_of(language_model.model).logits(hidden_TH, language_model.vocabulary)
    # A log-softmax in bfloat16 has two or three digits, and those of several tokens are added.
    precise = torch.promote_types(logits_TV.dtype, torch.float32)
    return (
        logits_TV.to(precise)
        .log_softmax(-1)
        .cpu()
        .split([len(completion) for _, completion in rows])
    )

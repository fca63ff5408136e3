"""The statement of a confidence in an answer's token ids: located, removed and inserted.

The sampled ids of the student's reasoning are kept exactly, because encoding a decoded text again
may give other ids, and the student would be trained on prefixes that it never writes. Only text
that shares a token with a statement is encoded again.

Ids are an answer without its prompt, [T]; `start` and `stop` count tokens.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.text.calibration.codec import Codec, Statement
from trainer.text.language.characters import unwritable
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.language.tokenizers import decode


@dataclass(frozen=True, slots=True)
class StatedAnswer:
    """An answer that states a confidence last.

    ids[:start] is the reasoning, ids[start:stop] the statement, ids[stop] an end token.
    """

    ids: tuple[int, ...]
    start: int
    stop: int


def require_writable(codec: Codec, language_model: TextModel, longest: int) -> None:
    """Raise ModelError if the model's tokenizer cannot write the statement within `longest` tokens.

    The statement must also read back as the same value.
    """
    for value in (0.0, 1.0):
        stated = with_confidence(codec, language_model, (), value)
        if codec.read(decode(language_model, stated.ids)).value != value:
            raise ModelError(
                f"The tokenizer of {language_model.name} cannot write “{codec.render(value)}”. "
                "Change data.confidence.wording to words that it has, or data.confidence.decimals."
            )
        if len(stated.ids) > longest:
            raise ModelError(
                f"The tokenizer of {language_model.name} needs {len(stated.ids)} tokens to "
                f"write “{codec.render(value)}” and to end, but "
                f"an answer has at most {longest}. Shorten data.confidence.wording, or "
                "raise max_new_tokens of stages and evaluation."
            )


def require_space(codec: Codec, student: TextModel, longest: int, stage: str) -> None:
    """Raise ModelError if the longest answer cannot hold a stated confidence and one more token."""
    needed = len(with_confidence(codec, student, (), 1.0).ids) + 1
    if longest < needed:
        raise ModelError(
            f"Answers of stage {stage} have at most {longest} tokens, but a stated confidence "
            f"alone takes {needed}; "
            "raise rollouts.generate.sampling.max_new_tokens."
        )


def statement_ids(codec: Codec, language_model: TextModel, value: float) -> list[int]:
    """Return the ids of the statement of a value; they do not depend on the text before it."""
    return _encode(language_model, codec.render(value))


def confidence_tokens(
    codec: Codec, language_model: TextModel, ids: Sequence[int]
) -> NDArray[np.bool_]:
    """Return which tokens hold a part of a statement, bool [T]."""
    mask = np.zeros(len(ids), bool)
    text = decode(language_model, ids)
    for statement in codec.statements(text):
        mask[slice(*_token_range(language_model, ids, text, statement))] = True
    return mask


def without_confidence(
    codec: Codec, language_model: TextModel, ids: Sequence[int]
) -> tuple[int, ...]:
    """Return the ids of the reasoning, without statements and end token."""
    reasoning = list(ids)
    while reasoning and reasoning[-1] in language_model.eos_ids:
        reasoning.pop()
    text = decode(language_model, reasoning)
    for statement in reversed(codec.statements(text)):
        first, last = _token_range(language_model, reasoning, text, statement)
        # Tokens at both ends may hold text of the reasoning too, which is encoded again.
        shared = text[len(decode(language_model, reasoning[:first])) : statement.start]
        shared += text[statement.end : len(decode(language_model, reasoning[:last]))]
        reasoning[first:last] = _encode(language_model, shared) if shared.strip() else []
    return tuple(reasoning)


def with_confidence(
    codec: Codec,
    language_model: TextModel,
    ids: Sequence[int],
    value: float,
    longest: int = sys.maxsize,
) -> StatedAnswer:
    """Return the answer with `value` as its only statement, then the end token.

    If this is longer than `longest` tokens, the end of the reasoning is cut, never the statement.
    Raises ValueError if the statement alone is too long, or the value is not in 0 … 1.
    """
    statement = statement_ids(codec, language_model, value)
    room = longest - len(statement) - 1
    if room < 0:
        raise ValueError(
            f"a stated confidence takes {len(statement) + 1} tokens, more than the longest "
            f"answer of {longest}"
        )
    reasoning = _cut_to_fit(
        codec, language_model, without_confidence(codec, language_model, ids), room
    )
    return StatedAnswer(
        # The tokenizer's own end token is the first; a model may list others.
        (*reasoning, *statement, language_model.eos_ids[0]),
        len(reasoning),
        len(reasoning) + len(statement),
    )


def _cut_to_fit(
    codec: Codec, language_model: TextModel, reasoning: tuple[int, ...], room: int
) -> tuple[int, ...]:
    """Return at most `room` ids: the reasoning and the line break that the statement needs.

    The reasoning is cut at its end.
    """
    between = _encode(language_model, codec.separator(decode(language_model, reasoning)))
    if len(reasoning) + len(between) <= room:
        return (*reasoning, *between)
    # Again from the start: the shorter reasoning may end in a line break and need no separator.
    return _cut_to_fit(codec, language_model, reasoning[: max(0, room - len(between))], room)


def _encode(language_model: TextModel, text: str) -> list[int]:
    try:
        return list(language_model.tokenizer(text, add_special_tokens=False).input_ids)
    # tokenizers raises a plain Exception where a vocabulary without an unknown token lacks a
    # character.
    except Exception as error:
        raise unwritable(language_model, text) from error


def _token_range(
    language_model: TextModel, ids: Sequence[int], text: str, statement: Statement
) -> tuple[int, int]:
    """Return first and last + 1 of the tokens that the statement's characters come from.

    These are the shortest prefixes of the ids whose text reaches its first and its last character.
    A binary search finds them: a longer prefix never has a shorter text, and an incomplete
    character is decoded as another one.
    """

    def prefix_length(characters: int) -> int:
        return bisect_left(
            range(len(ids)),
            True,
            key=lambda count: decode(language_model, ids[:count]).startswith(text[:characters]),
        )

    return prefix_length(statement.start + 1) - 1, prefix_length(statement.end)

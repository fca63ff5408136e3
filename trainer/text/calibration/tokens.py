"""The statement of a confidence in an answer's token ids: found there, taken out, put in.

What the student sampled of its reasoning stays the very ids it sampled, because encoding a decoded
text again may give others and the student would be taught on prefixes that it never writes. Only
what shares a token with a statement is encoded anew.

Ids are an answer without its prompt, [T]; `start` and `stop` count tokens.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.text.calibration.codec import Codec, Statement
from trainer.text.language.model_folders import ModelError
from trainer.text.language.tokenizers import decode

if TYPE_CHECKING:
    from trainer.text.language.models import LanguageModel


@dataclass(frozen=True, slots=True)
class Stated:
    """An answer that states a confidence last: reasoning ids[:start], the statement
    ids[start:stop], an end token ids[stop].
    """

    ids: tuple[int, ...]
    start: int
    stop: int


def require_writable(codec: Codec, language_model: LanguageModel, longest: int) -> None:
    """Raise ModelError if the model's tokenizer cannot write the statement so that it is read back,
    or in `longest` tokens.
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


def statement_ids(codec: Codec, language_model: LanguageModel, value: float) -> list[int]:
    """The ids of the statement of a value; what stands before it in an answer does not change
    them.
    """
    return _encode(language_model, codec.render(value))


def confidence_tokens(
    codec: Codec, language_model: LanguageModel, ids: Sequence[int]
) -> NDArray[np.bool_]:
    """Which tokens hold a part of a statement, [T]."""
    mask = np.zeros(len(ids), bool)
    text = decode(language_model, ids)
    for statement in codec.statements(text):
        mask[slice(*_touched(language_model, ids, text, statement))] = True
    return mask


def without_confidence(
    codec: Codec, language_model: LanguageModel, ids: Sequence[int]
) -> tuple[int, ...]:
    """The ids of the reasoning: no statement, no end token."""
    reasoning = list(ids)
    while reasoning and reasoning[-1] in language_model.ends:
        reasoning.pop()
    text = decode(language_model, reasoning)
    for statement in reversed(codec.statements(text)):
        first, last = _touched(language_model, reasoning, text, statement)
        shared = text[len(decode(language_model, reasoning[:first])) : statement.start]
        shared += text[statement.end : len(decode(language_model, reasoning[:last]))]
        reasoning[first:last] = _encode(language_model, shared) if shared.strip() else []
    return tuple(reasoning)


def with_confidence(
    codec: Codec,
    language_model: LanguageModel,
    ids: Sequence[int],
    value: float,
    longest: int = sys.maxsize,
) -> Stated:
    """The answer with `value` as its only statement, then the end token. Where this makes more than
    `longest` tokens, the end of the reasoning is cut, never the statement. Raises ValueError where
    the statement alone is too long, or the value is no share.
    """
    statement = statement_ids(codec, language_model, value)
    room = longest - len(statement) - 1
    if room < 0:
        raise ValueError(
            f"a stated confidence takes {len(statement) + 1} tokens, more than the longest "
            f"answer of {longest}"
        )
    reasoning = _apart(codec, language_model, without_confidence(codec, language_model, ids), room)
    return Stated(
        (*reasoning, *statement, language_model.ends[0]),
        len(reasoning),
        len(reasoning) + len(statement),
    )


def _apart(
    codec: Codec, language_model: LanguageModel, reasoning: tuple[int, ...], room: int
) -> tuple[int, ...]:
    """At most `room` ids: the reasoning, cut at its end, and the line break that a statement after
    it needs.
    """
    between = _encode(language_model, codec.between(decode(language_model, reasoning)))
    if len(reasoning) + len(between) <= room:
        return (*reasoning, *between)
    return _apart(codec, language_model, reasoning[: max(0, room - len(between))], room)


def _encode(language_model: LanguageModel, text: str) -> list[int]:
    return list(language_model.tokenizer(text, add_special_tokens=False).input_ids)


def _touched(
    language_model: LanguageModel, ids: Sequence[int], text: str, statement: Statement
) -> tuple[int, int]:
    """The tokens first … last − 1 that the statement's characters come from.

    The shortest beginnings of the ids whose text reaches its first and its last character, found by
    halving: a longer beginning never has a shorter text, and a character that is only half there is
    shown as another one.
    """

    def reaching(characters: int) -> int:
        return bisect_left(
            range(len(ids)),
            True,
            key=lambda count: decode(language_model, ids[:count]).startswith(text[:characters]),
        )

    return reaching(statement.start + 1) - 1, reaching(statement.end)

"""The fixed texts by which a server's scores are proven: short, ragged, with special tokens.

They are token ids made from the teacher's tokenizer alone, the same in every run with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.text.language.chat import prompt_ids, text_ids
from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel

QUESTION = "What is 17 + 25?"
PRIVILEGED = "Here is a reference solution: 17 + 25 = 42.\n\n"
ANSWER = "17 + 25 = 42. So the answer is 42."
# Tokens of the long answer, and of those of one text that are special.
LONG, MOST_SPECIAL = 19, 8


@dataclass(frozen=True)
class FixedText:
    """The scores of ids[start:] are compared; `name` says in messages which text it is."""

    name: str
    ids: tuple[int, ...]
    start: int

    @property
    def answer(self) -> tuple[int, ...]:
        return self.ids[self.start :]


@dataclass(frozen=True)
class FixedTexts:
    """`changed` differs from `short` in its last token, `privileged` in its prompt alone."""

    one_token: FixedText
    short: FixedText
    changed: FixedText
    long: FixedText
    special: FixedText
    privileged: FixedText

    @property
    def all(self) -> tuple[FixedText, ...]:
        return (
            self.one_token,
            self.short,
            self.changed,
            self.long,
            self.special,
            self.privileged,
        )


def fixed_texts(language_model: TextModel) -> FixedTexts:
    ordinary = _ordinary_ids(language_model)
    prompt = _encoded(language_model, QUESTION, ordinary[:12])
    shown = _encoded(language_model, PRIVILEGED + QUESTION, (*ordinary[12:24], *prompt))
    # It begins with a token that is hardly expected: one that is certain would hide a lost score.
    answer = (ordinary[len(ordinary) // 2], *_answer_ids(language_model), *ordinary)[:LONG]
    other = next(id for id in ordinary if id != answer[3])
    special = _special_ids(language_model)
    texts = {
        "one-token answer": (prompt, answer[:1]),
        "short answer": (prompt, answer[:4]),
        "changed answer": (prompt, (*answer[:3], other)),
        "long answer": (prompt, answer),
        "answer with special tokens": (prompt, (*answer[:2], *special, *answer[2:4])),
        "answer after a privileged text": (shown, answer[:4]),
    }
    return FixedTexts(
        *(FixedText(name, (*begin, *ids), len(begin)) for name, (begin, ids) in texts.items())
    )


def _encoded(language_model: TextModel, text: str, default: Sequence[int]) -> tuple[int, ...]:
    """Return the ids of a prompt, or the default where the tokenizer cannot write it."""
    try:
        return prompt_ids(language_model, text)
    except ModelError:
        return tuple(default)


def _answer_ids(language_model: TextModel) -> tuple[int, ...]:
    try:
        return tuple(text_ids(language_model, ANSWER))
    except ModelError:
        return ()


def _special_ids(language_model: TextModel) -> tuple[int, ...]:
    ids = sorted({*language_model.eos_ids, *language_model.tokenizer.all_special_ids})
    return tuple(id for id in ids if id < language_model.vocabulary)[:MOST_SPECIAL]


def _ordinary_ids(language_model: TextModel) -> tuple[int, ...]:
    """Return ids from all over the vocabulary that are not special; a small one repeats some."""
    special = set(language_model.tokenizer.all_special_ids)
    ordinary = [id for id in range(language_model.vocabulary) if id not in special]
    count = 2 * LONG + 12
    return tuple(
        ordinary[(index * len(ordinary) // count) % len(ordinary)] for index in range(count)
    )

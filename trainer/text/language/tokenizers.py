"""Tokenizers of language models, compared by content and used to decode ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel
from trainer.text.verifiers.thinking import is_reasoning_mark


def require_same_vocabulary(student: TextModel, teacher: TextModel) -> int:
    """Return the size of the vocabulary that student and teacher share.

    Raises ModelError if their ids mean different things. Compared are id → token, the begin token
    and the end tokens (one in common is enough: a base model and its chat version list different
    ones). The widths of the embeddings may differ; the padding token is never scored and may differ
    too, as may tokens that neither model embeds.
    """
    embedded = max(student.vocabulary, teacher.vocabulary)
    student_tokens, teacher_tokens = (
        {id: token for id, token in _by_id(model).items() if id < embedded}
        for model in (student, teacher)
    )
    different = sorted(
        id
        for id in student_tokens.keys() | teacher_tokens.keys()
        if student_tokens.get(id) != teacher_tokens.get(id)
    )
    remedy = "Choose a teacher with the student's tokenizer."
    if different:
        first = different[0]
        raise ModelError(
            f"Student {student.name} and teacher {teacher.name} have different tokenizers: "
            f"id {first} is {_token_text(student_tokens, first)} "
            f"for the student and {_token_text(teacher_tokens, first)} for the teacher "
            f"({len(different)} ids differ). {remedy}"
        )
    if student.tokenizer.bos_token_id != teacher.tokenizer.bos_token_id or not set(
        student.eos_ids
    ) & set(teacher.eos_ids):
        raise ModelError(
            f"Student {student.name} and teacher {teacher.name} begin or end texts with "
            f"different tokens. {remedy}"
        )
    if teacher.vocabulary < student.vocabulary:
        token = _token_text(student_tokens, teacher.vocabulary)
        raise ModelError(
            f"Teacher {teacher.name} does not embed {token} (id {teacher.vocabulary}), which "
            f"student {student.name} can write. {remedy}"
        )
    return student.vocabulary


def fingerprint(language_model: TextModel) -> str:
    """Return the hash of all that the ids of embedded tokens mean, the begin token included.

    End tokens are left out: a base model and its chat version list different ones.
    """
    tokens = {
        id: token for id, token in _by_id(language_model).items() if id < language_model.vocabulary
    }
    meaning = [language_model.tokenizer.bos_token_id, sorted(tokens.items())]
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def _by_id(language_model: TextModel) -> dict[int, str]:
    return {id: token for token, id in language_model.tokenizer.get_vocab().items()}


def _token_text(tokens: dict[int, str], id: int) -> str:
    return f"“{tokens[id]}”" if id in tokens else "missing"


def decode(language_model: TextModel, ids: Sequence[int]) -> str:
    """Return the text of an answer, without its end token and other special tokens.

    Tokens around reasoning, such as `[THINK]`, stay, because the answer is after them.
    """
    # A student may end as its teacher does, with a token that is not special in its own tokenizer.
    ids = [id for id in ids if id not in language_model.eos_ids]
    marks = _reasoning_marks(language_model.tokenizer)
    texts: list[str] = []
    start = 0
    for index, id in enumerate(ids):
        if id in marks:
            texts += [_plain_text(language_model, ids[start:index]), marks[id]]
            start = index + 1
    return "".join([*texts, _plain_text(language_model, ids[start:])])


def _plain_text(language_model: TextModel, ids: list[int]) -> str:
    return str(
        language_model.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )


@lru_cache(maxsize=16)
def _reasoning_marks(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Control tokens around reasoning, by their id; a decoder would drop them."""
    return {
        id: token.content
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.special and is_reasoning_mark(token.content)
    }


def token_texts(language_model: TextModel, ids: Sequence[int]) -> list[str]:
    """Return the text of each token by itself; special tokens are shown by their names."""
    text_by_id = {
        id: str(language_model.tokenizer.decode([id], clean_up_tokenization_spaces=False))
        for id in set(ids)
    }
    return [text_by_id[id] for id in ids]

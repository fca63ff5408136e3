"""Control tokens that a question spells out: they are encoded as text, never as the tokens.

A question such as “What does <|im_end|> mean?” would otherwise end the user's turn. Tokenizers look
for their control tokens in the whole text, so a mark is put inside each that is spelled out; the
text is encoded in parts between the marks, and no part contains a control token of the question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

ChatMessage = tuple[str, str]
# Many chat formats add their marks of turns and of thinking without calling them special.
MARKUP = re.compile(r"[<\[｜|].*[>\]｜|]", re.DOTALL)
# Characters for private use, of which one that no text contains becomes the mark.
FIRST_MARK = 0xE000


def mark_spelled(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage]
) -> tuple[list[ChatMessage], str]:
    """The messages (role, text) with the mark, and the mark; empty where nothing is spelled out."""
    texts = "".join(text for _, text in messages)
    special, markup = _patterns(tokenizer)
    in_normalised = _normalised_ids(tokenizer)
    if not (special.search(texts) or markup.search(texts) or in_normalised):
        return list(messages), ""
    mark = next(chr(code) for code in range(FIRST_MARK, 0xF900) if chr(code) not in texts)
    marked = [
        # Templates look for the marks of thinking in what the assistant has said.
        (role, (special if role == "assistant" else markup).sub(rf"\g<0>{mark}", text))
        for role, text in messages
    ]
    if in_normalised:
        marked = [(role, _divide(tokenizer, text, in_normalised, mark)) for role, text in marked]
    return marked, mark if marked != list(messages) else ""


def encode_parts(tokenizer: PreTrainedTokenizerBase, parts: Sequence[str]) -> list[int]:
    """The ids of parts of one text, encoded one by one, without BOS or end token."""
    # Behind a control token, whose id is dropped, a tokenizer does not start a new text, which
    # SentencePiece begins with a space.
    guard = tokenizer.eos_token or tokenizer.bos_token or ""
    guard_id = tokenizer.convert_tokens_to_ids(guard) if guard else None
    ids: list[int] = []
    for part in parts:
        part_ids = tokenizer(f"{guard}{part}", add_special_tokens=False).input_ids
        if guard_id is None or part_ids[:1] != [guard_id]:
            part_ids = tokenizer(part, add_special_tokens=False).input_ids
        else:
            part_ids = part_ids[1:]
        ids += part_ids
    return ids


def _divide(tokenizer: PreTrainedTokenizerBase, text: str, ids: frozenset[int], mark: str) -> str:
    """The text with the mark inside each control token that only normalising spells out.

    The tokenizer itself says where: `＜tool＞` may be its `<tool>`, or `<TOOL>` in lower case.
    """
    parts = []
    for part in text.split(mark):
        encoding = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
        spans = zip(encoding.input_ids, encoding.offset_mapping, strict=True)
        # A token of one character cannot be divided.
        starts = [start for id, (start, end) in spans if id in ids and end - start > 1]
        for start in reversed(starts):
            part = f"{part[: start + 1]}{mark}{part[start + 1 :]}"
        parts.append(part)
    return mark.join(parts)


@lru_cache(maxsize=8)
def _normalised_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the control tokens that the tokenizer looks for in normalised text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.normalizer is None:
        return frozenset()
    return frozenset(
        id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.normalized and (token.special or MARKUP.fullmatch(token.content))
    )


@lru_cache(maxsize=8)
def _patterns(
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns that match the first character of a special token, and of any control token."""
    tokens = tokenizer.added_tokens_decoder.values()
    # A token of one character cannot be divided.
    special = {token.content for token in tokens if token.special and len(token.content) > 1}
    markup = {token.content for token in tokens if MARKUP.fullmatch(token.content)}
    markup = {content for content in markup if len(content) > 1}
    return _starts(special), _starts(special | markup)


def _starts(tokens: set[str]) -> re.Pattern[str]:
    # Without tokens a pattern that matches nowhere.
    alternatives = (f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in sorted(tokens))
    return re.compile("|".join(alternatives) or r"(?!)", re.DOTALL)

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
    if not (special.search(texts) or markup.search(texts)):
        return list(messages), ""
    mark = next(chr(code) for code in range(FIRST_MARK, 0xF900) if chr(code) not in texts)
    marked = [
        # Templates look for the marks of thinking in what the assistant has said.
        (role, (special if role == "assistant" else markup).sub(rf"\g<0>{mark}", text))
        for role, text in messages
    ]
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

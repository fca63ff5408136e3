"""Questions that a model invents after its answer, and the tokens that end its turn."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

MOST_HEADINGS = 20
# Tokens after which another speaks, where a decoder leaves them in the text.
TURN_END = re.compile(
    r"<\|(?:im_end|im_start|user|endoftext|eot_id|eom_id|end_of_text|start_header_id|end|return|"
    r"end_of_turn|eos)\|>|<(?:end_of_turn|start_of_turn|eos)>|<｜[^<>｜]{1,30}｜>|\[/?INST\]",
    re.IGNORECASE,
)
# Not the end of text that is struck out, `<s>6</s>`.
SEQUENCE_END = re.compile(r"^(?:(?!<s>)[^\n])*?(?P<end></s>)", re.MULTILINE)


def before_next_question(
    text: str, names: tuple[str, ...], has_answer: Callable[[str], bool]
) -> str:
    """The text up to the first heading of a question or end of a turn after an answer."""
    if not names:
        return text
    starts = [heading.start() for heading in islice(_headings(names).finditer(text), MOST_HEADINGS)]
    starts += [end.start() for end in islice(TURN_END.finditer(text), MOST_HEADINGS)]
    starts += [end.start("end") for end in islice(SEQUENCE_END.finditer(text), MOST_HEADINGS)]
    for start in sorted(starts):
        if has_answer(text[:start]):
            return text[:start]
    return text


@lru_cache(maxsize=8)
def _headings(names: tuple[str, ...]) -> re.Pattern[str]:
    r"""`Question:`, `**Question 2**`, `## Problem 2`, `[Question]`, `Next question:`."""
    choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(
        r"^[#*_ \t>\[]{0,8}(?:(?:new|next|another|follow-?up|bonus|second|similar)[ ]+)?"
        rf"(?:{choices})"
        r"(?:[ ]?#?(?P<number>\d{1,4}))?[ ]?[*_\]]{0,4}(?:[:：]|[ ]?[.)\]](?=[ *_]|$)|[ \t]*$)",
        re.IGNORECASE | re.MULTILINE,
    )

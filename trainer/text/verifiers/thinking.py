"""The text of an answer after its reasoning.

Reasoning is between tags, `<think> … </think>`, `[THINK]`, `◁think▷`, `<|begin_of_thought|>`, whose
names are a setting, or in a channel of its own, `<|channel|>analysis<|message|> …`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from trainer.spec.verifiers.verifier import THINKING

CHANNEL = re.compile(r"<\|channel\|>\s*(?P<name>\w+)[^<]*<\|message\|>")
FINAL_CHANNEL = "final"
CHANNEL_TOKENS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
DEFAULT_NAMES = tuple(name.strip() for name in THINKING.split(","))
# The same channels where a decoder has dropped the control tokens.
BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\"'])(?:.*assistantfinal(?P<answer>.*))?", re.DOTALL)


def is_reasoning_mark(token: str) -> bool:
    """Whether a control token marks reasoning, so that a decoder must keep it.

    >>> is_reasoning_mark("[THINK]"), is_reasoning_mark("<|endoftext|>")
    (True, False)
    """
    return token in CHANNEL_TOKENS or _tags(DEFAULT_NAMES).fullmatch(token) is not None


def after_thinking(text: str, names: tuple[str, ...]) -> str:
    """The text after all reasoning; "" if the reasoning is never closed."""
    if not names:
        return text
    text = _final_channel(text)
    if not any(sign in text for sign in "<[◁"):
        return text
    depth = after = 0
    last_end = -1
    for tag in _tags(names).finditer(text):
        if tag["closing"]:
            depth, after = max(depth - 1, 0), tag.end()
        # A template and the model may both write the opening tag.
        elif depth == 0 or text[last_end : tag.start()].strip():
            depth += 1
        last_end = tag.end()
    return "" if depth else text[after:]


def _final_channel(text: str) -> str:
    if channels := list(CHANNEL.finditer(text)):
        is_final = channels[-1]["name"].lower() == FINAL_CHANNEL
        return text[channels[-1].end() :] if is_final else ""
    if bare := BARE_CHANNELS.match(text):
        return bare["answer"] or ""
    return text


@lru_cache(maxsize=8)
def _tags(names: tuple[str, ...]) -> re.Pattern[str]:
    choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(
        rf"[<\[◁]\|?(?:(?P<closing>/|end_(?:of_)?)|begin_of_|start_)?(?:\w+:)?"
        rf"(?:{choices})\|?[>\]▷]",
        re.IGNORECASE,
    )

"""Lists of messages inside a row: what a user asks last, what came before, and the reply.

Read are `{"role": …, "content": …}` (OpenAI, verl, TRL), `{"from": …, "value": …}` (ShareGPT) and,
for a history, pairs of a question and its answer (Alpaca with history).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.text.problems.addresses import opened
from trainer.text.problems.records import Message, UnusableRowError

ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text")
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    # A call of a tool is written by the assistant.
    "function_call": "assistant",
}


def is_conversation(value: Any) -> bool:
    """Whether a value, or the text of one, is a list of messages."""
    return is_opened_conversation(opened(value))


def is_opened_conversation(value: Any) -> bool:
    """The same for a value that is no text."""
    return (
        isinstance(value, list) and bool(value) and all(_keys(item) is not None for item in value)
    )


def messages_in(value: Any, where: str) -> tuple[Message, ...]:
    """The messages of a conversation. Raises UnusableRowError for one that is no text."""
    return tuple(_message(item, number, where) for number, item in enumerate(opened(value), 1))


def question_in(messages: Sequence[Message]) -> tuple[tuple[Message, ...], str]:
    """The messages before the user's last one, and that one; an empty text if there is none."""
    for index in reversed(range(len(messages))):
        if messages[index].role == "user":
            return tuple(messages[:index]), messages[index].text
    return tuple(messages), ""


def answer_in(messages: Sequence[Message]) -> str:
    """The reply at the end; an empty text if the conversation does not end with one."""
    return messages[-1].text if messages and messages[-1].role == "assistant" else ""


def ends_with_reply(value: Any) -> bool:
    """Whether the last message of a conversation is the assistant's."""
    last = opened(value)[-1]
    role_key, _ = _keys(last) or ("role", "")
    return ROLES.get(str(last.get(role_key)).strip().lower()) == "assistant"


def history_in(value: Any, where: str) -> tuple[Message, ...]:
    """The turns in a history column, which is empty, a list of messages or a list of pairs."""
    value = opened(value)
    if value is None or value == "" or value == []:
        return ()
    if is_conversation(value):
        return messages_in(value, where)
    if isinstance(value, list) and all(_is_pair(item) for item in value):
        return tuple(
            Message(role, text)
            for pair in value
            for role, text in zip(("user", "assistant"), pair, strict=True)
        )
    raise UnusableRowError(
        f"{where} has no history that can be read; it needs a list of messages, or of pairs of a "
        "question and its answer"
    )


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)
    )


def _keys(item: Any) -> tuple[str, str] | None:
    """The keys of role and text in a message; None if it is no message."""
    if not isinstance(item, dict):
        return None
    role = next((key for key in ROLE_KEYS if isinstance(item.get(key), str)), None)
    text = next((key for key in TEXT_KEYS if key in item), None)
    return (role, text) if role is not None and text is not None else None


def _message(item: Any, number: int, where: str) -> Message:
    role_key, text_key = _keys(item) or ("role", "content")
    name = item[role_key]
    if (role := ROLES.get(name.strip().lower())) is None:
        known = ", ".join(dict.fromkeys(ROLES))
        raise UnusableRowError(
            f"message {number} in {where} has the role “{name[:40]}”; known are {known}"
        )
    return Message(role, _content(item[text_key], number, where).strip())


def _content(value: Any, number: int, where: str) -> str:
    """The text of a message, which may be a list of parts of which all are text."""
    if value is None:
        return ""
    parts = value if isinstance(value, list) else [value]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    for part, text in zip(parts, texts, strict=True):
        if isinstance(text, list | dict | bytes) or text is None:
            kind = str(part.get("type") or "no text") if isinstance(part, dict) else "a list"
            raise UnusableRowError(
                f"message {number} in {where} holds more than text ({kind[:40]}), for example a "
                "picture; only text can be used"
            )
    return "\n".join(map(str, texts))

"""The first mapping of a file: recognised from the names of its columns and from its first rows.

Known shapes: GSM8K, MATH, Alpaca (`instruction`, `input`, `output`), ShareGPT (`conversations`),
`messages`, verl (`prompt` as messages, `reward_model.ground_truth`), prompt and completion as
messages, preference pairs (`chosen`, `rejected`), and multiple choice. Any other file is mapped by
the names of its columns, nested ones included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trainer.text.problems.addresses import (
    MOST_ADDRESSES,
    NoValueError,
    addresses_in,
    value_at,
)
from trainer.text.problems.conversations import (
    ends_with_reply,
    is_conversation,
    is_opened_conversation,
)
from trainer.text.problems.mapping import gsm8k_parts, last_box

NAMES = {
    "question": ("question", "problem", "prompt", "query", "instruction", "input"),
    "answer": (
        "answer",
        "final_answer",
        "expected_answer",
        "ground_truth",
        "answerkey",
        "target",
        "label",
        "output",
        "response",
        "completion",
        "solution",
    ),
    "choices": ("choices", "options"),
    "solution": ("solution", "rationale", "explanation", "reasoning"),
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "id": ("id", "unique_id", "uid", "problem_id", "key"),
    "domain": ("domain", "subject", "category", "topic", "type", "family", "data_source"),
    "difficulty": ("difficulty", "level", "grade"),
}
ALL_NAMES = frozenset(name for names in NAMES.values() for name in names)
CONVERSATION_NAMES = ("prompt", "messages", "conversations", "conversation")
ALPACA = ("instruction", "input")
PAIR = ("chosen", "rejected")

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """`guess` has the value of each field of a mapping, or None; `name` is empty if none is known.

    `verifier` is the kind that fits the answers, or empty.
    """

    name: str
    guess: dict[str, str | None]
    verifier: str = ""


def recognise(rows: Sequence[Values], opened_rows: Sequence[Values]) -> Shape:
    """The shape of a file from its first rows, as they are and with their texts opened."""
    table = _Table(rows, opened_rows)
    guess = {role: table.text(role) for role in NAMES}
    # By name alone: without its choices a question of a benchmark cannot be answered.
    guess["choices"] = table.column(NAMES["choices"])
    guess["history"] = table.column(NAMES["history"])
    guess["answer_from"] = None
    name = _put_conversation(guess, table) or _put_instruction(guess, table)
    name = _put_preference(guess, table) or name
    # “solution” is also a guess for the answer; one column cannot be both.
    if guess["solution"] == guess["answer"]:
        guess["solution"] = None
    if guess["choices"]:
        return Shape("multiple choice", guess, "choice")
    if guess["answer"] and not name:
        answers = [str(table.value(row, guess["answer"]) or "") for row in rows]
        if _most(gsm8k_parts(answer) is not None for answer in answers):
            name = "GSM8K"
        elif _most(last_box(answer) is not None for answer in answers):
            name, guess["answer_from"] = "MATH", "last_box"
    return Shape(name, guess, "math" if guess["answer_from"] else "")


def _put_conversation(guess: dict[str, str | None], table: _Table) -> str:
    """Map messages where the file has no columns of text for question and answer; the shape."""
    columns = table.conversations
    column = _first(CONVERSATION_NAMES, columns) or next(iter(columns.values()), None)
    texts = [_first(NAMES[role], table.texts) for role in ("question", "answer")]
    if column is None or all(texts):
        return ""
    guess["question"] = column
    if truth := table.nested.get("ground_truth"):
        guess["answer"] = truth
        return "verl"
    if answer := _first(("completion", "response"), columns) or texts[1]:
        guess["answer"] = answer
        return "prompt as messages"
    if table.has_reply(column):
        guess["answer"] = column
    return "ShareGPT" if table.has_key(column, "from") else "messages"


def _put_instruction(guess: dict[str, str | None], table: _Table) -> str:
    """Join instruction and input, of which the second may be empty; the shape."""
    columns = [table.texts[name] for name in ALPACA if name in table.texts]
    if guess["question"] not in columns:
        return ""
    if len(columns) == len(ALPACA):
        guess["question"] = "\n\n".join(f"{{{column}}}" for column in columns)
    return "Alpaca" if ALPACA[0] in table.texts and guess["answer"] else ""


def _put_preference(guess: dict[str, str | None], table: _Table) -> str:
    """Map the preferred reply as the answer; the shape."""
    if not all(name in table.columns for name in PAIR):
        return ""
    chosen = table.columns[PAIR[0]]
    guess["answer"] = guess["answer"] or chosen
    return "preference pairs" if guess["answer"] == chosen else ""


class _Table:
    """The first rows of a file: lower-case name → address of columns and of nested values.

    `texts` and `conversations` are whole columns; `nested` are texts inside groups, by the last
    part of their address. A column that is empty in these rows may be a text.
    """

    def __init__(self, rows: Sequence[Values], opened_rows: Sequence[Values]) -> None:
        self.rows, self.opened_rows = rows, opened_rows
        # Of columns that differ only in case the first one is taken.
        self.columns: dict[str, str] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            self.columns.setdefault(name.lower(), name)
        self.texts = {
            name: column
            for name, column in self.columns.items()
            if all(map(_is_text, self._values(column)))
            and not any(map(is_opened_conversation, self._values(column, self.opened_rows)))
        }
        self.conversations = {
            name: column
            for name, column in self.columns.items()
            if (values := self._values(column, self.opened_rows))
            and all(map(is_opened_conversation, values))
        }
        self.nested: dict[str, str] = {}
        columns = set(self.columns.values())
        for address in self._inner_addresses(columns):
            values = self._values(address, self.opened_rows)
            if values and all(map(_is_text, values)) and not any(map(is_conversation, values)):
                self.nested.setdefault(address.rpartition(".")[2].lower(), address)

    def text(self, role: str) -> str | None:
        """A column with a name for the role, else a nested value."""
        # Ids inside groups count something else as a rule.
        nested = {} if role == "id" else self.nested
        return _first(NAMES[role], self.texts) or _first(NAMES[role], nested)

    def column(self, names: Sequence[str]) -> str | None:
        return _first(names, self.columns)

    def value(self, row: Values, address: str) -> Any:
        try:
            return value_at(row, address)
        except NoValueError:
            return None

    def has_key(self, column: str, key: str) -> bool:
        values = self._values(column, self.opened_rows)
        return any(key in message for value in values for message in value)

    def has_reply(self, column: str) -> bool:
        """Whether a conversation ends with an answer."""
        return any(map(ends_with_reply, self._values(column, self.opened_rows)))

    def _inner_addresses(self, columns: Set[str]) -> Iterable[str]:
        """Addresses inside groups of which a role may have the name, MOST_ADDRESSES at most."""
        addresses = dict.fromkeys(
            address
            for row in self.opened_rows
            for address in addresses_in(row)
            if "." in address and "[" not in address and address not in columns
            if address.rpartition(".")[2].lower() in ALL_NAMES
        )
        return islice(addresses, MOST_ADDRESSES)

    def _values(self, address: str, rows: Sequence[Values] | None = None) -> list[Any]:
        values = (self.value(row, address) for row in rows or self.rows)
        return [value for value in values if value not in (None, "", [])]


def _is_text(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return not isinstance(value, dict | list | bytes)


def _first(names: Sequence[str], address_by_name: Mapping[str, str]) -> str | None:
    return next((address_by_name[name] for name in names if name in address_by_name), None)


def _most(tests: Iterable[object]) -> bool:
    results = [bool(test) for test in tests]
    return sum(results) * 2 > len(results)

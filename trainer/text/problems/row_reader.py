"""The texts and messages of one row of a data file, by address or template."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

from trainer.spec.data import LONGEST_ROW, ChoiceAnswers
from trainer.text.problems import column_templates
from trainer.text.problems.addresses import NoValueError, value_at
from trainer.text.problems.benchmarks import multiple_choice
from trainer.text.problems.conversations import (
    answer_in,
    history_in,
    is_conversation,
    messages_in,
    question_in,
)
from trainer.text.problems.records import Message, ProblemError, Row, UnusableRowError

TOO_LONG = "too long"
# Characters of an address that an error names.
LONGEST_SHOWN = 200


class RowReader:
    """The texts of one row, of at most `longest` characters; errors name it by `where`."""

    def __init__(self, row: Row, name: str, longest: int = LONGEST_ROW) -> None:
        self.values, self.longest = row.values, longest
        self.where = f"row {row.number} of {name}"

    def value(self, address: str) -> Any:
        try:
            return value_at(self.values, address)
        except NoValueError:
            column_names = ", ".join(f"“{_shown(key)}”" for key in islice(self.values, 20))
            shown = _shown(address)
            raise UnusableRowError(
                f"{self.where} has no column “{shown}”; it has {column_names or 'none'}",
                f"no column “{shown}”",
            ) from None

    def text(self, address: str) -> str:
        """The text at an address, or of a template."""
        if address not in self.values and column_templates.is_template(address):
            # Rows of JSON leave empty values out.
            filled = column_templates.fill(address, self.optional_value)
            return self.storable(filled, address)
        return self.plain(self.value(address), address)

    def optional_value(self, address: str) -> str:
        try:
            return self.plain(value_at(self.values, address), address)
        except NoValueError:
            return ""

    def optional(self, address: str | None) -> str:
        if address is None:
            return ""
        is_template = address not in self.values and column_templates.is_template(address)
        return self.text(address) if is_template else self.optional_value(address)

    def conversation(self, address: str) -> tuple[Message, ...] | None:
        """The messages at an address; None if it has none."""
        try:
            value = value_at(self.values, address)
        except NoValueError:
            return None
        if not is_conversation(value):
            return None
        messages = messages_in(value, self.where)
        for message in messages:
            self.storable(message.text, address)
        return messages

    def question(self, address: str) -> tuple[tuple[Message, ...], str]:
        """The messages before the question, and the question."""
        messages = self.conversation(address)
        return question_in(messages) if messages is not None else ((), self.text(address).strip())

    def answer(self, address: str) -> str:
        messages = self.conversation(address)
        return answer_in(messages) if messages is not None else self.text(address)

    def multiple_choice(
        self, question: str, answer: str, address: str, answers: ChoiceAnswers
    ) -> tuple[str, str]:
        """The question with its choices, and the letter of the right one, named by `answers`."""
        choices = self.value(address)
        try:
            listed, letter = multiple_choice(question, choices, answer, self.where, answers)
        except ProblemError as error:
            raise UnusableRowError(str(error), "no usable choices") from None
        return self.storable(listed, address), letter

    def history(self, address: str | None) -> tuple[Message, ...]:
        if address is None:
            return ()
        try:
            messages = history_in(value_at(self.values, address), self.where)
        except NoValueError:
            return ()
        for message in messages:
            self.storable(message.text, address)
        return messages

    def plain(self, value: Any, column: str) -> str:
        """The text of one value."""
        # Published sets often keep the one answer in a list.
        if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list):
            value = value[0]
        if value == [] or value == {}:
            return ""
        if isinstance(value, dict | list | bytes):
            raise UnusableRowError(
                f"column “{_shown(column)}” in {self.where} holds a list or a group of values; "
                "choose a column of text or numbers, or a value inside it such as "
                f"{_inner(column, value)}"
            )
        # Tables export a missing value as NaN.
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return ""
        return self.storable(str(value), column)

    def storable(self, value: str, column: str) -> str:
        if len(value) > self.longest:
            raise UnusableRowError(
                f"column “{_shown(column)}” in {self.where} has {len(value):,} characters; "
                f"at most {self.longest:,} are read",
                TOO_LONG,
            )
        # Postgres stores neither half of a surrogate pair nor a NUL.
        try:
            storable = b"\0" not in value.encode()
        except UnicodeEncodeError:
            storable = False
        if not storable:
            raise UnusableRowError(
                f"column “{_shown(column)}” in {self.where} holds a broken Unicode character or a "
                "NUL; remove it"
            )
        return value


def _inner(column: str, value: Any) -> str:
    name = next(iter(value), "name") if isinstance(value, dict) else None
    return f"“{_shown(column)}[0]”" if name is None else f"“{_shown(column)}.{_shown(name)}”"


def _shown(address: str) -> str:
    return address[:LONGEST_SHOWN]

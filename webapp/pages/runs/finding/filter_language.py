"""The filter language of the list of runs, read into terms and written from them.

    filter   term term …, separated by spaces; all must hold
    term     [-] word | [-] name sign value; a minus in front negates
    sign     : = != < <= > >=, with spaces around it or without
    word, name, value   without spaces, or in double quotes, where \\" and \\\\ stand for " and \\

A value behind a space has no sign of its own: it would be the next condition. `40 %` is `40%`.

What names and values mean is decided in `matching`. `written(read(text))` reads as the same terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

LONGEST_FILTER = 4000
# Conditions on figures and settings, each of which asks the database for itself.
MOST_CONDITIONS = 20
QUOTED = r'"(?:\\.|[^"\\])*"'
SIGNS = r"!=|<=|>=|[:=<>]"
CONDITION = re.compile(rf'(?P<name>{QUOTED}|[^\s":=<>!]+)\s*(?P<sign>{SIGNS})', re.DOTALL)
TEXT = re.compile(rf'{QUOTED}|[^\s"]\S*', re.DOTALL)
VALUE_BEHIND_SPACE = re.compile(rf'{QUOTED}|[^\s":=<>!]+(?!\S)', re.DOTALL)
PERCENT_SIGN = re.compile(r"\s+%(?!\S)")
# Text that is read as one word, one name or one value without quotation marks.
BARE_WORD = re.compile(r'(?!%$)[^\s":=<>!-][^\s":=<>!]*')
BARE_VALUE = re.compile(r'[^\s"]\S*')


class FilterError(ValueError):
    """A filter that is not understood; the text says where, what is wrong and what is known."""


@dataclass(frozen=True)
class Term:
    """A condition `name sign value`, or a word, which has neither name nor sign.

    `position` is that of its first character, counted from 1.
    """

    value: str
    name: str = ""
    sign: str = ""
    is_negated: bool = False
    position: int = field(default=1, compare=False)

    @property
    def is_word(self) -> bool:
        return not self.sign

    def __str__(self) -> str:
        minus = "-" if self.is_negated else ""
        if self.is_word:
            return minus + _written_text(self.value, BARE_WORD)
        name = _written_text(self.name, BARE_WORD)
        return f"{minus}{name}{self.sign}{_written_text(self.value, BARE_VALUE)}"


def read(text: str) -> list[Term]:
    """Read a filter into its terms; an empty one has none. Raises FilterError."""
    if len(text) > LONGEST_FILTER:
        raise FilterError(
            f"The filter has {len(text):,} characters; it may have {LONGEST_FILTER:,}."
        )
    terms: list[Term] = []
    position = 0
    while (start := _skip_spaces(text, position)) < len(text):
        term, position = _term(text, start)
        terms.append(term)
        if position < len(text) and not text[position].isspace():
            raise FilterError(
                f"A space is missing after the quotation mark at character {position}."
            )
    conditions = [term for term in terms if not term.is_word]
    if len(conditions) > MOST_CONDITIONS:
        raise FilterError(
            f"The filter has {len(conditions)} conditions; it may have {MOST_CONDITIONS}. "
            f"The first one too many is {_excerpt(str(conditions[MOST_CONDITIONS]))} at character "
            f"{conditions[MOST_CONDITIONS].position}."
        )
    return terms


def written(terms: Iterable[Term]) -> str:
    """Return a filter that reads as these terms."""
    return " ".join(map(str, terms))


def quoted(text: str) -> str:
    """Return text in quotation marks, as the language reads it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _term(text: str, start: int) -> tuple[Term, int]:
    """Return the term that begins at `start`, and where it ends."""
    is_negated = text[start] == "-"
    first = start + is_negated
    condition = CONDITION.match(text, first)
    sign_end = first if condition is None else condition.end()
    value_start = sign_end if condition is None else _skip_spaces(text, sign_end)
    value = (TEXT if value_start == sign_end else VALUE_BEHIND_SPACE).match(text, value_start)
    if value is None:
        raise _value_error(text, start, sign_end)
    end = value.end()
    written_value = _plain_text(value[0])
    if condition is not None and (percent := PERCENT_SIGN.match(text, end)):
        written_value, end = f"{written_value}%", percent.end()
    term = Term(
        written_value,
        "" if condition is None else _plain_text(condition["name"]),
        "" if condition is None else condition["sign"],
        is_negated,
        start + 1,
    )
    if not term.value or (condition is not None and not term.name):
        raise FilterError(f"The quotation marks at character {start + 1} hold no text.")
    return term, end


def _value_error(text: str, start: int, value_start: int) -> FilterError:
    if text[value_start : value_start + 1] == '"':
        return FilterError(
            f"The quotation mark at character {value_start + 1} is not closed: another one belongs "
            "behind the text."
        )
    if value_start == start + 1 and text[start] == "-":
        return FilterError(
            f"Nothing follows the minus at character {start + 1}: it negates the term behind it, "
            "without a space."
        )
    return FilterError(
        f"{_excerpt(text[start:value_start])} at character {start + 1} has no value: one belongs "
        "behind the sign, such as state:running or lr<1e-4."
    )


def _skip_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _plain_text(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text[0] == '"' else text


def _written_text(text: str, bare: re.Pattern[str]) -> str:
    return text if bare.fullmatch(text) else quoted(text)


def _excerpt(text: str) -> str:
    return f"“{text[:60]}{'…' if len(text) > 60 else ''}”"

"""Lists and groups in Python's or NumPy's notation, as pandas writes them into the cells of a CSV.

    ['a', 'b']                                   a list
    ['a' 'b'], [1 2 3]                           NumPy: no commas between the values
    {'text': array(['a', 'b'], dtype=object)}    a group with a NumPy array

Numbers keep their spelling, and NaN is a missing value, as in json_lines.py. Nothing is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

# Characters of a text that is looked at, and depth of the lists in it.
LONGEST, DEEPEST = 1_000_000, 40
TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^'\\\n]|\\.)*' | "(?:[^"\\\n]|\\.)*")
    | (?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<name>[A-Za-z_][A-Za-z_.\d]*)
    | (?P<sign>[\[\](){},:=])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
NAMES = {"True": True, "False": False, "None": None, "nan": None, "NaN": None, "inf": None}
CLOSING = {"[": "]", "(": ")", "{": "}"}


class NotPythonError(ValueError):
    """The text is no list or group in Python's notation."""


def parse(text: str) -> Any:
    """The value of a text that starts with `[` or `{`. Raises NotPythonError."""
    if len(text) > LONGEST or not text.rstrip().endswith(("]", "}")):
        raise NotPythonError("too long, or goes on")
    tokens = _Tokens(text)
    value = _value(tokens, DEEPEST)
    if tokens.kind != "end":
        raise NotPythonError("goes on")
    return value


class _Tokens:
    """The tokens of a text; `kind` and `text` are those of the next one."""

    def __init__(self, text: str) -> None:
        self._rest: Iterator[tuple[str, str]] = _tokens(text)
        self.kind, self.text = next(self._rest)

    def take(self) -> str:
        text = self.text
        self.kind, self.text = next(self._rest, ("end", ""))
        return text

    def expect(self, sign: str) -> None:
        if self.text != sign or self.kind != "sign":
            raise NotPythonError(sign)
        self.take()


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while match := TOKEN.match(text, position):
        kind = match.lastgroup or "end"
        yield kind, match[kind]
        if kind == "end":
            return
        position = match.end()
    raise NotPythonError("no token")


def _value(tokens: _Tokens, depth: int) -> Any:
    if not depth:
        raise NotPythonError("nested too deeply")
    kind, text = tokens.kind, tokens.take()
    if kind == "text":
        return _unquoted(text)
    if kind == "number":
        return text.replace("_", "")
    if kind == "name":
        return _named(text, tokens, depth)
    if text in ("[", "("):
        return _list(tokens, CLOSING[text], depth)
    if text == "{":
        return _group(tokens, depth)
    raise NotPythonError(text)


def _unquoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError) as error:
        raise NotPythonError("no text") from error


def _named(name: str, tokens: _Tokens, depth: int) -> Any:
    if name in NAMES:
        return NAMES[name]
    if name not in ("array", "np.array", "numpy.array"):
        raise NotPythonError(name)
    tokens.expect("(")
    value = _value(tokens, depth - 1)
    # What follows is the type of the array, for example `, dtype=object`.
    while tokens.text != ")" and tokens.kind in ("sign", "name", "text"):
        tokens.take()
    tokens.expect(")")
    return value


def _list(tokens: _Tokens, closing: str, depth: int) -> list[Any]:
    values: list[Any] = []
    while tokens.text != closing or tokens.kind != "sign":
        values.append(_value(tokens, depth - 1))
        if tokens.text == "," and tokens.kind == "sign":
            tokens.take()
    tokens.take()
    return values


def _group(tokens: _Tokens, depth: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    while tokens.text != "}" or tokens.kind != "sign":
        key = _value(tokens, depth - 1)
        if isinstance(key, list | dict):
            raise NotPythonError("no name")
        tokens.expect(":")
        values[str(key)] = _value(tokens, depth - 1)
        if tokens.text == "," and tokens.kind == "sign":
            tokens.take()
    tokens.take()
    return values

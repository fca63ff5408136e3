r"""Sets of real numbers in every usual spelling, as SymPy sets with exact ends.

`(-\infty, 2] \cup [5, \infty)`, `x \le 2 \text{ or } x \ge 5`, `\{x \mid x \le 2\}`,
`1 < x < 3`, `x \ne 0` and `\mathbb{R} \setminus \{0\}` are read by one grammar; any other text is
no set. Ends are read by the caller, because they may be formulas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# An end of an interval as a SymPy number; None if the text is none.
ReadEnd = Callable[[str], Any]

SIGNS = (
    (r"\\(?:text|mathrm|mbox)\s*\{\s*(or|and)\s*\}", r" \1 "),
    (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])|\\[,;:! ]|\\q?quad(?![A-Za-z])|~", " "),
    (r"\\(?:text|mathrm)\s*\{\s*all real numbers\s*\}|all real numbers|\\R(?![A-Za-z])", "ℝ"),
    (r"\\math(?:bb|bf)\s*\{?\s*R\s*\}?", "ℝ"),
    (r"\\infty|\\infinity", "∞"),
    (r"\\leq?(?:slant)?(?![A-Za-z])|<=", "≤"),
    (r"\\geq?(?:slant)?(?![A-Za-z])|>=", "≥"),
    (r"\\neq?(?![A-Za-z])|!=", "≠"),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\in(?![A-Za-z])", "∈"),
    (r"\\cup(?![A-Za-z])", "∪"),
    (r"\\cap(?![A-Za-z])", "∩"),
    (r"\\lor(?![A-Za-z])|\\vee(?![A-Za-z])", " or "),
    (r"\\land(?![A-Za-z])|\\wedge(?![A-Za-z])", " and "),
    (r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])", "∖"),
    (r"\\\{|\\lbrace(?![A-Za-z])", "⦃"),
    (r"\\\}|\\rbrace(?![A-Za-z])", "⦄"),
    (r"\\mid(?![A-Za-z])|\\vert(?![A-Za-z])|\\colon(?![A-Za-z])", "|"),
)
# A text without any of these is a pair or a value, which need not be meant as a set.
DEFINITE = re.compile(r"[<>≤≥≠∪∩∖ℝ∞]")
OPENING, CLOSING = "([{⦃", ")]}⦄"
NAME = re.compile(r"[A-Za-z](?:_\w)?")
MEMBER = re.compile(rf"\s*(?P<name>{NAME.pattern})\s*∈(?P<set>.+)", re.DOTALL)
BUILDER = re.compile(
    rf"⦃\s*(?P<name>{NAME.pattern})\s*(?:∈(?P<domain>[^|:]+))?[|:](?P<condition>.+)⦄", re.DOTALL
)
INTERVAL = re.compile(r"\s*(?P<left>[(\[])(?P<inside>.+)(?P<right>[)\]])\s*", re.DOTALL)
RELATION = re.compile(r"[<>≤≥≠]")


@dataclass(frozen=True, slots=True)
class RealSet:
    """`name` is that of the unknown, "" without one; `is_definite` is False for a mere pair."""

    values: Any
    name: str
    is_definite: bool


def read_real_set(text: str, read_end: ReadEnd) -> RealSet | None:
    """The set that all of a LaTeX text is; None if it is no set of the grammar."""
    for pattern, sign in SIGNS:
        text = re.sub(pattern, sign, text)
    names: set[str] = set()
    values = _set(text, read_end, names)
    if values is None or len(names) > 1:
        return None
    return RealSet(values, "".join(names), DEFINITE.search(text) is not None)


def are_equal(one: RealSet, other: RealSet) -> bool:
    """Whether two sets have the same pieces, with the same open and closed ends."""
    if one.name and other.name and one.name != other.name:
        return False
    pieces, other_pieces = _pieces(one.values), _pieces(other.values)
    return len(pieces) == len(other_pieces) and all(
        a[2:] == b[2:] and all(_same_end(x, y) for x, y in zip(a[:2], b[:2], strict=True))
        for a, b in zip(pieces, other_pieces, strict=True)
    )


def _set(text: str, read_end: ReadEnd, names: set[str]) -> Any:
    from sympy import Complement, Intersection, S, Union

    text = text.strip()
    for separator, combine in ((r"\bor\b|∪", Union), (r"\band\b|∩", Intersection)):
        if len(parts := _split(text, separator)) > 1:
            operands = [_set(part, read_end, names) for part in parts]
            return None if None in operands else combine(*operands)
    if len(parts := _split(text, "∖")) == 2:
        whole, removed = (_set(part, read_end, names) for part in parts)
        return None if whole is None or removed is None else Complement(whole, removed)
    if member := MEMBER.fullmatch(text):
        names.add(member["name"])
        return _set(member["set"], read_end, names)
    if builder := BUILDER.fullmatch(text):
        names.add(builder["name"])
        domain = _set(builder["domain"] or "ℝ", read_end, names)
        condition = _set(builder["condition"], read_end, names)
        return None if domain is None or condition is None else Intersection(domain, condition)
    if text == "ℝ":
        return S.Reals
    return _finite(text, read_end) or _interval(text, read_end) or _relation(text, read_end, names)


def _finite(text: str, read_end: ReadEnd) -> Any:
    from sympy import FiniteSet

    if not (text.startswith("⦃") and text.endswith("⦄")):
        return None
    values = [_end(part, read_end) for part in _split(text[1:-1], ",")]
    return None if None in values else FiniteSet(*values)


def _interval(text: str, read_end: ReadEnd) -> Any:
    match = INTERVAL.fullmatch(text)
    if not match or len(parts := _split(match["inside"], ",")) != 2:
        return None
    low, high = (_end(part, read_end) for part in parts)
    return _between(low, high, match["left"] == "(", match["right"] == ")")


def _between(low: Any, high: Any, is_left_open: bool, is_right_open: bool) -> Any:
    from sympy import Interval

    if low is None or high is None or not low.evalf() < high.evalf():
        return None
    return Interval(low, high, is_left_open, is_right_open)


def _relation(text: str, read_end: ReadEnd, names: set[str]) -> Any:
    """`x < 2`, `2 > x`, `1 < x <= 3`, `x != 0`."""
    from sympy import FiniteSet, S, oo

    signs = RELATION.findall(text)
    sides = [side.strip() for side in RELATION.split(text)]
    unknowns = [index for index, side in enumerate(sides) if NAME.fullmatch(side)]
    is_simple = len(signs) == 1 and len(unknowns) == 1
    if not is_simple and not (len(signs) == 2 and unknowns == [1]):
        return None
    names.add(sides[unknowns[0]])
    ends = [_end(side, read_end) for index, side in enumerate(sides) if index != unknowns[0]]
    if None in ends:
        return None
    if signs == ["≠"]:
        return S.Reals - FiniteSet(ends[0])
    # Turned so that the unknown is in the middle of `low < x < high`.
    if len(signs) == 1:
        is_upper = (signs[0] in "<≤") == (unknowns[0] == 0)
        is_open = signs[0] in "<>"
        low, high = (-oo, ends[0]) if is_upper else (ends[0], oo)
        return _between(low, high, is_open, is_open)
    if all(sign in "<≤" for sign in signs):
        return _between(ends[0], ends[1], signs[0] == "<", signs[1] == "<")
    if all(sign in ">≥" for sign in signs):
        return _between(ends[1], ends[0], signs[1] == ">", signs[0] == ">")
    return None


def _end(text: str, read_end: ReadEnd) -> Any:
    from sympy import oo

    text = text.strip()
    if match := re.fullmatch(r"([-+]?)\s*∞", text):
        return -oo if match[1] == "-" else oo
    return None if RELATION.search(text) else read_end(text)


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators outside of brackets."""
    pattern = re.compile(separator)
    parts, start, depth, index = [], 0, 0, 0
    while index < len(text):
        depth += (text[index] in OPENING) - (text[index] in CLOSING)
        if depth == 0 and (match := pattern.match(text, index)):
            parts.append(text[start:index])
            start = index = match.end()
        else:
            index += 1
    return [*parts, text[start:]]


def _pieces(values: Any) -> list[tuple[Any, Any, bool, bool]]:
    """(low, high, left open, right open) of each piece in order; a point is a closed piece."""
    from sympy import FiniteSet, Interval, S, Union

    if values is S.Reals:
        values = Interval(-S.Infinity, S.Infinity)
    pieces: list[tuple[Any, Any, bool, bool]] = []
    for part in values.args if isinstance(values, Union) else (values,):
        if isinstance(part, FiniteSet):
            pieces += [(point, point, False, False) for point in part.args]
        elif isinstance(part, Interval):
            pieces.append((part.start, part.end, bool(part.left_open), bool(part.right_open)))
        elif part is not S.EmptySet:
            raise ValueError("not made of intervals and points")
    return sorted(pieces, key=lambda piece: float(piece[0]))


def _same_end(one: Any, other: Any) -> bool:
    if one.is_infinite or other.is_infinite:
        return bool(one == other)
    size = max(abs(one), abs(other)).evalf(50)
    return bool(one == other or abs((one - other).evalf(50)) <= size * 10**-30)

"""Numbers in English words: thirty-six, two and a half, three quarters, half a dozen."""

from __future__ import annotations

import re
from fractions import Fraction

SMALL = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 100,
}  # fmt: skip
PLURAL_PARTS = {"halves": 2} | {f"{word}s": number for word, number in PARTS.items()}
SIGNS = ("negative", "minus")
ARTICLES = ("a", "an")
WORD = re.compile(r"\s*-?([A-Za-z]+)")

NUMBER_WORD = rf"(?:{'|'.join([*SMALL, *TENS, *LARGE, 'hundred', *PARTS, *PLURAL_PARTS])})"


def number_at_start(text: str) -> tuple[Fraction, int, bool] | None:
    """(value, length of its words, whether it is written as a fraction) of a number in words.

    None if the text begins with no number. The number is as long as it can be.

    >>> number_at_start("thirty-six eggs")
    (Fraction(36, 1), 10, False)
    >>> number_at_start("three quarters")
    (Fraction(3, 4), 14, True)
    >>> number_at_start("twenty thirty") is None
    True
    """
    words: list[str] = []
    ends: list[int] = []
    position = 0
    while match := WORD.match(text, position):
        if not _may_belong(match[1].lower()):
            break
        words.append(match[1].lower())
        position = match.end()
        ends.append(position)
    # `two and` and `a` end before the number does.
    while words and words[-1] in ("and", *ARTICLES):
        words.pop()
    value = _value(words)
    is_fraction = bool(words) and words[-1] in PARTS | PLURAL_PARTS
    return None if value is None else (value, ends[len(words) - 1], is_fraction)


def _may_belong(word: str) -> bool:
    names = (SMALL, TENS, LARGE, PARTS, PLURAL_PARTS, SIGNS, ARTICLES, ("hundred", "and"))
    return any(word in group for group in (*names, ("dozen",)))


def _value(words: list[str]) -> Fraction | None:
    if words and words[0] in SIGNS:
        value = _value(words[1:])
        return None if value is None else -value
    if words and words[-1] == "dozen":
        special = {(): Fraction(1), ("a",): Fraction(1), ("half", "a"): Fraction(1, 2)}
        count = special.get(tuple(words[:-1])) or _value(words[:-1])
        return None if count is None else 12 * count
    if words and words[-1] in PARTS | PLURAL_PARTS:
        return _with_part(words)
    whole = _whole(words)
    return None if whole is None else Fraction(whole)


def _with_part(words: list[str]) -> Fraction | None:
    """`half`, `one third`, `three quarters`, `two and a half`."""
    *before, part = words
    is_plural = part in PLURAL_PARTS
    whole = 0
    if "and" in before:
        index = len(before) - 1 - before[::-1].index("and")
        read = _whole(before[:index])
        if read is None:
            return None
        whole, before = read, before[index + 1 :]
    count = 1 if before in ([], ["a"], ["an"]) else _whole(before)
    # `thirds` alone and `twenty third`, an ordinal, are no fractions.
    if count is None or (not before and part != "half") or is_plural != (count != 1):
        return None
    fraction = Fraction(count, (PARTS | PLURAL_PARTS)[part])
    return whole + fraction if not whole or fraction < 1 else None


def _whole(words: list[str]) -> int | None:
    """`two thousand five hundred and six`; None for words that are no number."""
    if words[:1] in (["a"], ["an"]) and words[1:2] and words[1] in ("hundred", *LARGE):
        words = ["one", *words[1:]]
    total, smallest = 0, max(LARGE.values()) * 1000
    below: list[str] = []
    for word in words:
        if word not in LARGE:
            below.append(word)
            continue
        count = _below_thousand(below)
        if not count or LARGE[word] >= smallest:
            return None
        total, smallest, below = total + count * LARGE[word], LARGE[word], []
    rest = 0 if total and not below else _below_thousand(below[total > 0 and below[0] == "and" :])
    return None if rest is None else total + rest


def _below_thousand(words: list[str]) -> int | None:
    if "hundred" not in words:
        return _below_hundred(words)
    index = words.index("hundred")
    rest = words[index + 1 :]
    hundreds = _below_hundred(words[:index])
    tail = _below_hundred(rest[rest[:1] == ["and"] :]) if rest else 0
    return None if not hundreds or tail is None else 100 * hundreds + tail


def _below_hundred(words: list[str]) -> int | None:
    match words:
        case [word] if word in SMALL or word in TENS:
            return (SMALL | TENS)[word]
        case [tens, ones] if tens in TENS and 0 < SMALL.get(ones, 0) < 10:
            return TENS[tens] + SMALL[ones]
    return None

"""Numbers in English words: thirty-six, two and a half, three quarters, half a dozen."""

from __future__ import annotations

import re
from fractions import Fraction

SMALL = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
TENS = {
    word: 10 * number
    for number, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
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
        known = {(): Fraction(1), ("a",): Fraction(1), ("half", "a"): Fraction(1, 2)}
        count = known.get(tuple(words[:-1])) or _value(words[:-1])
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
    if count is None or not before and part != "half" or is_plural != (count != 1):
        return None
    fraction = Fraction(count, (PARTS | PLURAL_PARTS)[part])
    return whole + fraction if not whole or fraction < 1 else None


def _whole(words: list[str]) -> int | None:
    total = current = 0
    largest = 10**15
    previous = ""
    if not words or words[-1] == "and":
        return None
    for index, word in enumerate(words):
        if word in SMALL:
            is_after_tens = previous in TENS and 0 < SMALL[word] < 10
            if current % 100 and not is_after_tens or previous in SMALL or previous == "zero":
                return None
            current += SMALL[word]
        elif word in TENS:
            if current % 100 or previous in SMALL:
                return None
            current += TENS[word]
        elif word == "hundred":
            if not 0 < current < 100:
                return None
            current *= 100
        elif word in LARGE:
            if not current or LARGE[word] >= largest:
                return None
            total, current, largest = total + current * LARGE[word], 0, LARGE[word]
        elif word in ARTICLES:
            if index or words[1:2] not in (["hundred"], *([name] for name in LARGE)):
                return None
            current = 1
        elif word != "and" or previous != "hundred" and previous not in LARGE:
            return None
        previous = word
    return total + current

"""The signs between decimals and thousands, guessed from the references of a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainer.spec.verifiers.number_format import NumberFormat

# Characters of a reference that are looked at.
LONGEST = 200
# `3,5` and `1.250.000,75` can only have a decimal comma, `3.5` and `1,250,000` only a point.
COMMA = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:\.\d{3})+,\d+|\d+,(?!\d{3}(?!\d))\d+|"
                   r"\d{1,3}(?:\.\d{3}){2,})(?![\d.,]*\d)")  # fmt: skip
POINT = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+\.\d+|\d*\.(?!\d{3}(?!\d))\d+|"
                   r"\d{1,3}(?:,\d{3}){2,})(?![\d.,]*\d)")  # fmt: skip
SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?![\d ])")
# A pair such as (3,5) or a list is no number.
ONE_NUMBER = re.compile(r"[^\d,;()\[\]{}]*[\d., ]*\d[^\d,;()\[\]{}]*")


def guess_number_format(references: Iterable[str]) -> NumberFormat:
    """How most references that tell the formats apart write numbers."""
    comma = point = spaced = 0
    for text in references:
        flat = text[:LONGEST].replace("{,}", ",").strip().strip("$").strip()
        if not ONE_NUMBER.fullmatch(flat):
            continue
        comma += bool(COMMA.search(flat))
        point += bool(POINT.search(flat))
        spaced += bool(SPACED.search(flat))
    return NumberFormat(decimal_comma=comma > point, spaced_thousands=spaced > 0)

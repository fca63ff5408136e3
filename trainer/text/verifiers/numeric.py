r"""Equal numbers, as exact fractions and never as floats: 0.1 + 0.2 is 0.3 here.

The answer is where `answer_regions` says; without a mark, the last number of the text.
`quantities` says what a number is.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache, partial

from trainer.spec import NumericVerifier
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers import quantities
from trainer.text.verifiers.answer_regions import Region, answered_text, regions, without_cue
from trainer.text.verifiers.number_text import plain
from trainer.text.verifiers.quantity import Quantity, equal
from trainer.text.verifiers.records import Verdict, clean
from trainer.text.verifiers.rejections import after_retraction, without_rejected

SENTENCE_END = re.compile(
    r"(?<!\b[ap]\.m)(?<!\bapprox)(?<!\bsq)(?<!\bRs)(?<!\bca)[.;?!](?=\s|$)|[。；！？]|\n"
)
# What may be rejected beside another number.
NUMBER = r"(?<![\d.,])[-+]?[$€£¥]?\d[\d.,]{0,30}(?:\s?(?:%|[^\W\d_]{1,20}))?"
# `60 minutes (1 hour).`
PARENTHESES_AT_END = re.compile(
    r"(?<=[\d⟧\w])(?<!\d )\s\((?!(?:or|not|maybe|perhaps|and)\b)[^()]*\)(?=\s*[.!]?\s*$)"
)
# Characters at the end of a text that may reject its last number.
NEAR_END = 500
# At least two cells; `|-7|` is an absolute value.
TABLE_ROW = re.compile(r"\s*\|(?:[^|\n]*\|)+?(?P<last>[^|\n]*)\|\s*")


class NumericJudge:
    """The answer's number must equal the reference's within a relative tolerance."""

    def __init__(self, spec: NumericVerifier) -> None:
        self.spec = spec
        # From repr: 0.1 means a tenth, not the nearest binary number.
        self.tolerance = Fraction(Decimal(repr(spec.tolerance)))
        # A problem's reference is read once for all answers to it.
        self._reference = lru_cache(maxsize=4096)(partial(reference_number, form=spec))

    def read_reference(self, text: str) -> str:
        quantity, _ = self._reference(text)
        return clean(quantity.shown) if quantity else ""

    def reference_mark(self, text: str) -> str:
        return self._reference(text)[1]

    def judge(self, completion: str, reference: str) -> Verdict:
        answer = answer_number(answered_text(completion, self.spec), self.spec)
        expected, _ = self._reference(reference)
        read = clean(answer.shown) if answer else ""
        if expected is None:
            return Verdict(None, read)
        is_right = answer is not None and equal(answer, expected, self.tolerance)
        return Verdict(is_right, read)


def answer_number(text: str, form: NumberFormat) -> Quantity | None:
    """The number that a text without reasoning answers; None if there is none."""
    for region in regions(text):
        quantity = number_in(region, form)
        # “The answer is in kilometres” marks no number.
        is_empty = region.mark and not region.is_whole and not re.search(r"\d|[½-¾]", region.text)
        if quantity or not is_empty:
            return quantity
    return None


def reference_number(text: str, form: NumberFormat) -> tuple[Quantity | None, str]:
    """The number of a reference and its mark. Without a mark it must be the only one."""
    all_regions = regions(text)
    if not all_regions:
        return None, ""
    region = all_regions[0]
    quantity = number_in(region, form)
    if quantity and not region.mark:
        rest = plain(text).replace(quantity.text, "", 1)
        if re.search(r"[\d⟦]", rest) and not quantities.whole(plain(text), form):
            return None, ""
    return quantity, region.mark


def number_in(region: Region, form: NumberFormat) -> Quantity | None:
    """The number of a region, or None."""
    text = plain(region.text)
    if region.is_whole:
        return quantities.whole(text, form) or quantities.whole(without_cue(text), form)
    if not region.mark:
        return _unmarked_number(text, form)
    end = SENTENCE_END.search(text)
    sentence = text[: end.start()] if end else text
    if corrected := _corrected(text):
        return quantities.last(corrected, form)
    return quantities.first(without_rejected(sentence, NUMBER), form)


def _unmarked_number(text: str, form: NumberFormat) -> Quantity | None:
    """The last number of a text, of a table the last cell."""
    lines = text.strip().rsplit("\n", 1)
    if row := TABLE_ROW.fullmatch(lines[-1]):
        return quantities.whole(row["last"], form)
    text = PARENTHESES_AT_END.sub("", _corrected(text) or text)
    return quantities.last(text[:-NEAR_END] + without_rejected(text[-NEAR_END:], NUMBER), form)


def _corrected(text: str) -> str:
    """What follows the last word such as “wait” before a number; "" without such a word."""
    digits = re.search(r"\d\D*$", text)
    return after_retraction(text, digits.start()) if digits else ""

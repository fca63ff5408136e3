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
from trainer.text.verifiers.quantities import Quantity
from trainer.text.verifiers.records import Verdict, clean

SENTENCE_END = re.compile(
    r"(?<!\b[ap]\.m)(?<!\bapprox)(?<!\bsq)(?<!\bRs)(?<!\bca)[.;?!](?=\s|$)|[。；！？]|\n"
)
# “The answer is 5. Wait, it is 7.” has no answer.
RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|scratch that|oops|on second thought|"
    r"made (?:a|an) (?:mistake|error)|let me (?:re|check|verify))",
    re.IGNORECASE,
)


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
        is_right = answer is not None and quantities.equal(answer, expected, self.tolerance)
        return Verdict(is_right, read)


def answer_number(text: str, form: NumberFormat) -> Quantity | None:
    """The number that a text without reasoning answers; None if there is none."""
    for region in regions(text):
        if region.mark and not region.is_whole and not re.search(r"\d|[½-¾]", region.text):
            # “The answer is in kilometres” marks no number.
            continue
        return number_in(region, form)
    return None


def reference_number(text: str, form: NumberFormat) -> tuple[Quantity | None, str]:
    """The number of a reference and its mark. Without a mark it must be the only one."""
    found = regions(text)
    if not found:
        return None, ""
    region = found[0]
    quantity = number_in(region, form)
    if quantity and not region.mark:
        rest = plain(text).replace(quantity.text, "", 1)
        if re.search(r"[\d⟦]", rest) and not quantities.whole(plain(text), form):
            return None, ""
    return quantity, region.mark


def number_in(region: Region, form: NumberFormat) -> Quantity | None:
    """The number of a region, or None."""
    if region.is_whole:
        text = plain(region.text)
        return quantities.whole(text, form) or quantities.whole(without_cue(text), form)
    text = plain(region.text)
    if not region.mark:
        return quantities.last(text, form)
    end = SENTENCE_END.search(text)
    sentence, rest = (text[: end.start()], text[end.end() :]) if end else (text, "")
    retraction = RETRACTED.search(rest)
    if retraction and re.search(r"\d", rest[retraction.end() :]):
        return None
    return quantities.first(sentence, form)

r"""Equal numbers. Numbers are compared as exact fractions, never as floats: 0.1 + 0.2 is 0.3 here.

Read are integers, decimals, thousands separated by commas, exponents and fractions (3/4,
\frac{3}{4}), with any currency or unit around them. The answer is what `####` or `\boxed{}` marks,
whichever comes last; without a mark, the last number of the completion.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from trainer.spec.data import NumericVerifier
from trainer.text.verifiers.marks import marked
from trainer.text.verifiers.records import Verdict, clean

NUMBER = re.compile(
    r"""
    (?P<sign> (?<![\w)\]}.]) [-−+] (?:\\?[$€£])? )?          # 20-3 subtracts, x=-3 does not
    (?: \\[dt]?frac \{ (?P<over>\d+) \} \{ (?P<under>\d+) \}
      | (?P<number> (?: \d{1,3}(?:,\d{3})+(?!\d) | \d+ ) (?:\.\d+)? | \.\d+ )
        (?P<exponent> [eE][-+]?\d{1,4}(?!\d) )?
        (?: \s?/\s? (?P<denominator>\d+) (?![\d.,]*\d) )?
    )""",
    re.VERBOSE,
)
LONGEST_NUMBER = 1000  # characters; longer ones are not read as numbers


class NumericJudge:
    """The answer's number must equal the reference's within a relative tolerance."""

    def __init__(self, spec: NumericVerifier) -> None:
        self.tolerance = Fraction(Decimal(repr(spec.tolerance)))

    def read_reference(self, text: str) -> str:
        text, value = read_number(text)
        return clean(text) if value is not None else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        text, value = read_number(completion)
        _, wanted = read_number(reference)
        if wanted is None:
            return Verdict(None, clean(text))
        return Verdict(value is not None and self._equal(value, wanted), clean(text))

    def _equal(self, value: Fraction, wanted: Fraction) -> bool:
        return value == wanted or abs(value - wanted) <= self.tolerance * abs(wanted)


def read_number(text: str) -> tuple[str, Fraction | None]:
    """The number that answers, as written and as a fraction; ("", None) if there is none."""
    mark, region = marked(text)
    found = list(NUMBER.finditer(region))
    for number in found if mark == "####" else reversed(found):
        if (value := _value(number)) is not None:
            return number[0], value
    return "", None


def _value(found: re.Match[str]) -> Fraction | None:
    if len(found[0]) > LONGEST_NUMBER:
        return None
    under = int(found["under"] or found["denominator"] or 1)
    if under == 0:
        return None
    over = Decimal(found["over"] or found["number"].replace(",", "") + (found["exponent"] or ""))
    value = Fraction(*over.as_integer_ratio()) / under
    return -value if (found["sign"] or "+")[0] in "-−" else value

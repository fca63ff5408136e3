r"""Equal numbers. Numbers are compared as exact fractions, never as floats: 0.1 + 0.2 is 0.3 here.

It reads integers, decimals, thousands separated by commas, exponents and fractions (3/4,
\frac{3}{4}), with any currency or unit around them. The answer is the text after `####` or in
`\boxed{}`, whichever is last; without a mark, the last number of the completion.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from trainer.spec import NumericVerifier
from trainer.text.verifiers.answer_marks import marked
from trainer.text.verifiers.records import Verdict, clean

# The exponent has four digits at most: 1e999999999 would fill the memory as a fraction.
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
# Characters. Longer ones are not read as numbers.
LONGEST_NUMBER = 1000


class NumericJudge:
    """The answer's number must equal the reference's within a relative tolerance."""

    def __init__(self, spec: NumericVerifier) -> None:
        # From repr: 0.1 means a tenth, not the nearest binary number.
        self.tolerance = Fraction(Decimal(repr(spec.tolerance)))

    def read_reference(self, text: str) -> str:
        text, value = read_number(text)
        return clean(text) if value is not None else ""

    def judge(self, completion: str, reference: str) -> Verdict:
        text, value = read_number(completion)
        _, expected = read_number(reference)
        if expected is None:
            return Verdict(None, clean(text))
        within = value is not None and abs(value - expected) <= self.tolerance * abs(expected)
        return Verdict(within, clean(text))


def read_number(text: str) -> tuple[str, Fraction | None]:
    """The answer's number, as written and as a fraction; ("", None) if there is none."""
    mark, region = marked(text)
    matches = list(NUMBER.finditer(region))
    for number in matches if mark == "####" else reversed(matches):
        if (value := _value(number)) is not None:
            return number[0], value
    return "", None


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > LONGEST_NUMBER:
        return None
    denominator = int(match["under"] or match["denominator"] or 1)
    if denominator == 0:
        return None
    numerator = Decimal(
        match["over"] or match["number"].replace(",", "") + (match["exponent"] or "")
    )
    value = Fraction(*numerator.as_integer_ratio()) / denominator
    return -value if (match["sign"] or "+")[0] in "-−" else value

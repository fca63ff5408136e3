r"""How one number is written in digits: `-$1,234.50`, `2 ⟦1/2⟧`, `6*10^5`, `50 %`, `3 million`.

All functions read text that `number_text.plain` has made. Values are exact fractions.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers import units
from trainer.text.verifiers.quantity import Quantity
from trainer.text.verifiers.units import COUNTED, SCALES

# Digits of a value; 1e999999999 would fill the memory as a fraction.
LONGEST_NUMBER = 1000

CURRENCY = (
    r"(?:(?:US|A|C|NZ|HK|NT|S|R)?\$|[€£¥₹₩₽₺₪₫฿₴₱₨]"
    r"|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR|RMB|Rs\.?|RM)(?![A-Za-z]))"
)
PERCENT = r"%|percent(?:age)?\b|per\s?cent\b|pct\b|prozent\b|процент\w*|パーセント"
# `18th century`, but `3rd place`.
NAMED_BY_ORDINAL = re.compile(r" +(?!place|position|term|number|day|one)[^\W\d_]")
# `$1.25k`, `3k dollars`; without a currency these are letters or units.
MONEY_SCALES = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
MONEY_WORD = r"(?:dollars?|USD|euros?|EUR|pounds?|rupees?|bucks)\b"


@lru_cache(maxsize=4)
def pattern(decimal_comma: bool, spaced_thousands: bool) -> re.Pattern[str]:
    space = r"|\d{1,3}(?:[ ]\d{3})+" if spaced_thousands else ""
    if decimal_comma:
        # `3.5` can only have a decimal point, `1.250` has none.
        decimal = (
            r"\d+\.(?!\d{3}(?!\d))\d+(?![.,]?\d)"
            rf"|(?:\d{{1,3}}(?:\.\d{{3}})+(?!\d){space}|\d+)(?:,\d+)?(?!,?\d)"
        )
    else:
        decimal = (
            rf"(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?!\d)|\d{{1,3}}(?:'\d{{3}})+(?!\d){space}|\d{{1,3}}(?:_\d{{3}})+(?!\d)|\d+)"
            r"(?:\.\d+)?|(?<![\d.])\.\d+"
        )
    decimal = f"(?:{decimal})"
    scales = "|".join(sorted(SCALES, key=len, reverse=True))
    return re.compile(
        rf"""
        (?: (?P<sign>[-+]|(?<![\d⟧%]\s)(?<!\b[a-z]\s)\b(?:negative|minus)(?=\s))\s* )?
        (?: (?P<currency>{CURRENCY})\s* (?: (?P<inner_sign>[-+])\s* )? )?
        (?: ⟦\s*(?P<over>[-+]?\s*{decimal})\s*/\s*(?P<under>-?\d+(?:\.\d+)?)\s*⟧
          | (?P<mixed>\d+)\s*(?:(?:\s|and)\s*)?
            (?: ⟦\s*(?P<mixed_over>\d+)\s*/\s*(?P<mixed_under>\d+)\s*⟧
              | (?<=[\sd])(?P<mixed_over_plain>\d+)/(?P<mixed_under_plain>\d+)(?![\d/.,]*\d) )
          | (?: (?P<factor>{decimal})\s*[*x]\s* )? 10\^(?P<ten>[-+]?\d{{1,4}})(?!\d)
          | (?P<root>{decimal})\^(?P<power>[-+]?\d{{1,4}})(?![\d.])
          | (?P<digits>\d+)(?:_|\s?\(?\s?base\s?)\(?(?P<base>\d{{1,2}})\)?(?!\d)
          | (?P<number>{decimal})
            (?: (?P<exponent>[eE][-+]?\d{{1,4}}(?!\d))
              | \s?/\s?(?P<denominator>\d+)(?![\d.,/]*\d) )?
        )
        (?: \s?(?:(?P<permille>‰|per\s?mille?\b)|(?P<percent>{PERCENT})) )?
        (?: \s?(?P<scale>{scales})(?![A-Za-z])
          | (?P<money_scale>(?(currency)(?:k|m|mn|b|bn)|k(?=\s*{MONEY_WORD})))\b )?
        (?: (?<=\d)/-(?!\d) )?
        (?: (?<=[\d⟧])(?P<ordinal>st|nd|rd|th)\b )?
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def quantity_of(match: re.Match[str], form: NumberFormat) -> Quantity | None:
    if len(match[0]) > LONGEST_NUMBER:
        return None
    if match["ordinal"] and NAMED_BY_ORDINAL.match(match.string, match.end()):
        return None
    try:
        value, is_fraction = _value(match, form)
    except (ArithmeticError, ValueError):
        return None
    if (match["sign"] or match["inner_sign"] or "+") != "+":
        value = -value
    scale = SCALES[match["scale"].lower()] if match["scale"] else 1
    if match["money_scale"]:
        scale = MONEY_SCALES[match["money_scale"].lower()]
    if match["permille"]:
        value /= 10
    plain = match["number"] is not None and not (match["exponent"] or match["denominator"])
    unit = units.known_unit(_dollar(match["currency"])) if match["currency"] else COUNTED
    return Quantity(
        match[0].strip(),
        value * scale,
        unit or COUNTED,
        match["percent"] is not None or match["permille"] is not None,
        _places(match["number"], form) if plain and scale == 1 and not match["permille"] else None,
        int(match["base"]) if match["base"] else None,
        is_fraction,
    )


def _dollar(sign: str) -> str:
    return "$" if sign.endswith("$") and sign != "R$" else sign


def _value(match: re.Match[str], form: NumberFormat) -> tuple[Fraction, bool]:
    """The value without its sign, and whether it is written as a fraction."""
    if match["over"]:
        over, under = match["over"].replace(" ", ""), match["under"]
        return _decimal(over, form) / Fraction(under), True
    if match["mixed"]:
        fraction = Fraction(
            int(match["mixed_over"] or match["mixed_over_plain"]),
            int(match["mixed_under"] or match["mixed_under_plain"]),
        )
        if not 0 < fraction < 1:
            raise ValueError("not a mixed number")
        return int(match["mixed"]) + fraction, True
    if match["ten"]:
        factor = _decimal(match["factor"], form) if match["factor"] else Fraction(1)
        return factor * _power(Fraction(10), int(match["ten"])), False
    if match["power"]:
        return _power(_decimal(match["root"], form), int(match["power"])), False
    if match["digits"]:
        return Fraction(int(match["digits"])), False
    value = _decimal(match["number"], form)
    if match["exponent"]:
        value *= _power(Fraction(10), int(match["exponent"][1:]))
    if match["denominator"]:
        return value / int(match["denominator"]), True
    return value, False


def _power(root: Fraction, exponent: int) -> Fraction:
    length = max(root.numerator.bit_length(), root.denominator.bit_length()) * abs(exponent)
    if length > 10 * LONGEST_NUMBER * 4:
        raise ValueError("too long a number")
    return root**exponent


def _decimal(text: str, form: NumberFormat) -> Fraction:
    return Fraction(*Decimal(_point(text, form)).as_integer_ratio())


def _point(text: str, form: NumberFormat) -> str:
    """The number with a decimal point and without separators of thousands."""
    text = re.sub("[ '_]", "", text)
    if not form.decimal_comma:
        return text.replace(",", "")
    if re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?", text) or "," in text:
        return text.replace(".", "").replace(",", ".")
    return text


def _places(text: str, form: NumberFormat) -> int:
    return len(_point(text, form).partition(".")[2])

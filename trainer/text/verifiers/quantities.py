r"""What a number is: the whole text with an optional sign, currency, unit or percent sign.

`2√3`, `x^2`, `(3,4)`, `5 or 7`, a ratio, a time and a range are no numbers, nor are their last
digits. Values are exact fractions: 0.1 + 0.2 is 0.3 here. All functions read text that
`number_text.plain` has made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers import units
from trainer.text.verifiers.units import COUNTED, SCALES, Unit

# Digits of a value; 1e999999999 would fill the memory as a fraction.
LONGEST_NUMBER = 1000
# Characters of a text that may be a number as a whole, and of the unit after one.
LONGEST_TEXT, LONGEST_UNIT = 2 * LONGEST_NUMBER, 80

CURRENCY = (
    r"(?:(?:US|A|C|NZ|HK|NT|S|R)?\$|[€£¥₹₩₽₺₪₫฿₴₱₨]"
    r"|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR|RMB|Rs\.?|RM)(?![A-Za-z]))"
)
FILLERS = re.compile(
    r"^(?:\s|[(\[]?(?:about|around|approximately|approx\.?|roughly|nearly|almost|exactly|only|just|"
    r"simply|equal to|equals?|is|are|was|be|a total of|total|therefore|thus|hence|so|then|answer:?|"
    r"the answer is|约|大约|約|共)(?![A-Za-z]))+|^[≈~∴]+\s*",
    re.IGNORECASE,
)
# Words between two numbers that leave open which of them is meant.
EITHER = (
    r"(?:or|and|to|through|until|versus|vs\.?|out of|of|oder|und|bis|ou|et|o|y|или|и|或者?|和|到|"
    r"至|または|또는)"
)
HEDGED_AFTER = re.compile(
    rf"\W{{0,4}}{EITHER}(?![A-Za-z])\s*(?:maybe|perhaps|possibly|about|even|else)?"
    r"[^\w⟦]{0,4}[-+]?[$€£¥]?\s*(?=[\d⟦])",
    re.IGNORECASE,
)
OPERATOR = r"x|by|mod|times|plus|minus|over|choose"
HEDGED_BEFORE = re.compile(
    rf"[\d⟧%°](?:\s*[^\W\d]+){{0,2}}\s*(?:,\s*)?(?<![A-Za-z])(?:{EITHER}|{OPERATOR})\s*(?:maybe|perhaps)?\s*$"
    r"|[\d⟧]\s*[,;]\s*$|\b(?:between|from|either|neither|not)\s+$"
    # An inequality in words.
    r"|\b(?:less|more|greater|fewer|smaller|larger|bigger|higher|lower)\s+than\s+$"
    r"|\b(?:at\s+(?:least|most)|up\s+to|(?:minimum|maximum)\s+of)\s+$",
    re.IGNORECASE,
)
# What makes a number a part of a longer expression.
CONTINUES = re.compile(
    r"[\d⟦^_√π°'\"\[{+]|[!](?=\S)|\([\w-]|[.,:][\d⟦]|[A-Za-zͰ-Ͽ\\]|-(?=\w)"
    r"| *[*/+±÷√π∶|≤≥<≠](?! *$)| *- *[\d⟦√π(\\]| +- *[A-Za-z](?![A-Za-z])"
    r"| *[:>] *[\d⟦]| *x *[\d⟦(]| *\\(?!n)"
    r"| +(?:times|plus|minus|divided|multiplied|over|squared|cubed|factorial|mod|pi|sqrt|base|"
    r"raised|choose|dozens?|hundredths|tenths|thousandths)(?![A-Za-z])",
)
STEP = re.compile(r"[=≈]|→|⇒|->|(?<![\s\w)])>(?=\S)|(?<=\d)>(?=\S)")
# `x = 5, y = ` begins a second answer.
SEVERAL = re.compile(r"\d\s*(?:,|;|and|or)\s*[A-Za-z]\s*=\s*$")
PERCENT = r"%|percent(?:age)?\b|per\s?cent\b|pct\b|prozent\b|процент\w*|パーセント"
LETTER = re.compile(r"[A-Za-zÀ-ɏͰ-ϿЀ-ӿ]")
COPULA = re.compile(
    r"(?<![^\W\d_])(?:is|are|was|were|be|equals|equal|to|of|ist|est|es|è|é|becomes|gives|gets)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit. `text` is how it is written.

    `value` includes a percent sign (50 % is ½) only if `is_percent` is False: 50 % has the value
    50. `places` counts the decimals of a plain decimal number, None for other forms. `base` is that
    of a subscript, and then `value` is that of the digits as they stand.
    """

    text: str
    value: Fraction
    unit: Unit = COUNTED
    is_percent: bool = False
    places: int | None = None
    base: int | None = None
    is_fraction: bool = False

    @property
    def shown(self) -> str:
        """As people write it: `2 1/2`."""
        return re.sub(r"(?<=\d)⟦", " ", self.text).replace("⟦", "").replace("⟧", "")

    @property
    def digits(self) -> int:
        """Significant digits of a decimal number."""
        if self.places is None:
            return 0
        return len(str(abs(int(self.value * 10**self.places))).lstrip("0"))


def whole(text: str, form: NumberFormat) -> Quantity | None:
    """The quantity that all of the text is; an equation counts with its last side."""
    text = text.strip().rstrip(".,;。，；").strip()
    if len(text) > LONGEST_TEXT:
        return None
    if "=" in text or "≈" in text or "→" in text:
        return _last_side(text, form)
    return single(text, form)


def first(text: str, form: NumberFormat) -> Quantity | None:
    """The quantity of a sentence that begins with it, or that ends in an equation."""
    if quantity := whole(text, form):
        return quantity
    if not (start := re.search(r"[\d⟦]", text)):
        return None
    for match in _candidates(text, form):
        begin, end, quantity = match
        if begin > start.start():
            break
        rest = text[end:]
        if re.match(r"\s*[=≈]", rest):
            break
        return quantity if _stands_alone(text, begin, end, form) else None
    sides = re.split(r"[=≈]|→|⇒|=>|->", text)
    if len(sides) > 1:
        side = sides[-1].strip()
        for begin, end, quantity in _candidates(side, form):
            is_first = not re.search(r"[\d⟦]", side[:begin])
            return quantity if is_first and _stands_alone(side, begin, end, form) else None
    return None


def last(text: str, form: NumberFormat) -> Quantity | None:
    """The quantity at the end of a text, if its last digits are a whole number."""
    # `13>132` is a chain of steps; `x > 5` is an inequality.
    before, tail = _last_step(text)
    if re.fullmatch(r"\s*[\d.,]+!+\s*", tail):
        # A factorial, if it is all that there is.
        return None
    if not before:
        if quantity := whole(text, form):
            return quantity
    elif SEVERAL.search(before):
        return None
    elif quantity := single(tail, form):
        return quantity
    if not (digits := [match.start() for match in re.finditer(r"[\d⟦]", tail)]):
        return None
    for begin, end, quantity in reversed(list(_candidates(tail, form))):
        if begin <= digits[-1] < end:
            return quantity if _stands_alone(tail, begin, end, form) else None
    return None


def _last_step(text: str) -> tuple[str, str]:
    """The text up to its last sign of a step, such as `=`, and what follows."""
    end = max((match.end() for match in STEP.finditer(text)), default=0)
    return text[:end], text[end:][-LONGEST_TEXT:]


def equal(answer: Quantity, reference: Quantity, tolerance: Fraction = Fraction(0)) -> bool:
    """Whether two quantities are the same within a relative tolerance.

    Units and bases that both have must agree; a unit that one side lacks does not matter, a base
    does. A reference with a percent sign accepts `50`, `50 %` and `0.5` for 50 %. Without one, up
    to 1 or as a fraction, it means a share, so that 50 % is 0.5; above 1 it means the number
    before the percent sign.
    """
    if answer.base != reference.base:
        return False
    value, expected = _comparable(answer, reference)
    return any(abs(one - expected) <= tolerance * abs(expected) for one in value)


def _comparable(answer: Quantity, reference: Quantity) -> tuple[tuple[Fraction, ...], Fraction]:
    """The values that count as the answer, and the reference's, in one unit."""
    one, other = answer.unit, reference.unit
    if one.dimension and other.dimension:
        if one.dimension != other.dimension:
            return (), reference.value
        return (answer.value * one.factor,), reference.value * other.factor
    if reference.is_percent and not answer.is_percent:
        return (answer.value, answer.value * 100), reference.value
    if answer.is_percent and not reference.is_percent:
        is_share = reference.is_fraction or abs(reference.value) <= 1
        return (answer.value / 100 if is_share else answer.value,), reference.value
    return (answer.value,), reference.value


def _last_side(text: str, form: NumberFormat) -> Quantity | None:
    # `x = 5, y = 7` has two answers.
    if re.search(r"[,;]\s*[A-Za-z\\]|\b(?:and|or)\b", text):
        return None
    quantities: list[Quantity] = []
    for side in re.split(r"[=≈]|→|⇒|=>|->", text):
        if quantity := single(side.strip(), form):
            quantities.append(quantity)
        elif quantities and re.search(r"[A-Za-z\\]", side):
            # `10 = 2x` is an equation that is still to be solved.
            return None
    if not quantities:
        return None
    agree = all(equal(other, quantities[0]) for other in quantities)
    return quantities[-1] if agree or "≈" in text or "→" in text else None


def single(text: str, form: NumberFormat) -> Quantity | None:
    """The quantity that all of the text is, which holds no equation."""
    text = text.strip().rstrip(".,;。，；").strip()
    while (shorter := FILLERS.sub("", text, count=1).strip()) != text:
        text = shorter
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    match = _pattern(form.decimal_comma, form.spaced_thousands).match(text)
    if not match or not (quantity := _quantity(match, form)):
        return None
    rest = text[match.end() :]
    if re.match(r"[A-Za-z]{1,2}(?![A-Za-z])", rest) and not units.known_unit(rest.strip(" .")):
        return None
    if not rest.strip():
        return quantity
    # A percent sign or a currency has taken the place of the unit.
    unit = units.unit_of(rest) if len(rest) < LONGEST_UNIT else None
    if unit is None:
        return None
    return _with_unit(quantity, unit, text)


def _with_unit(quantity: Quantity, unit: Unit, text: str) -> Quantity | None:
    # What is counted is not compared, so it is not shown either.
    if not unit.dimension:
        return quantity
    if quantity.unit.dimension and quantity.unit != unit:
        is_rate = not unit.dimension[0][0].startswith("money")
        # `$5 per kg`: the price stays the unit.
        return replace(quantity, text=text) if is_rate else None
    return replace(quantity, unit=unit, text=text)


def _candidates(text: str, form: NumberFormat) -> Iterator[tuple[int, int, Quantity]]:
    """(start, end, quantity) of what looks like numbers, with known units, from left to right."""
    pattern, position = _pattern(form.decimal_comma, form.spaced_thousands), 0
    while match := pattern.search(text, position):
        # A unit may have digits of its own: `12 m^2`.
        end, unit = _unit_after(text, match.end())
        if quantity := _quantity(match, form):
            with_unit = unit and _with_unit(quantity, unit, text[match.start() : end])
            end = end if with_unit else match.end()
            yield match.start(), end, with_unit or quantity
        position = end


def _unit_after(text: str, start: int) -> tuple[int, Unit | None]:
    """The longest known unit after a number, of at most four words."""
    if not (match := re.compile(r"\s?(?=[^\s\d.,;:!?()\[\]{}=+|-])").match(text, start)):
        return start, None
    begin = match.end()
    words = list(
        re.compile(r"[^\s,;:!?()\[\]{}=+|。，；！？、]+").finditer(text[begin : begin + 60])
    )[:4]
    for count in range(len(words), 0, -1):
        end = begin + words[count - 1].end()
        name = text[begin:end].rstrip(".*/")
        for length in (len(name), *([1, 2] if not name[:1].isascii() else [])):
            part = name[:length]
            # A unit is spelled out or a symbol of its own: not the `m` of `more`.
            if part and (unit := units.known_unit(part)):
                return begin + len(part), unit
    return start, None


def _stands_alone(text: str, begin: int, end: int, form: NumberFormat) -> bool:
    """Whether text[begin:end] is no part of a longer expression, list, range or alternative."""
    before, after = text[:begin], text[end:]
    if CONTINUES.match(after) or not _may_begin(before, text[begin]):
        return False
    alternative = HEDGED_AFTER.match(after)
    if alternative or re.match(r",\s+(?:(?:or|and)\s+)?[-+]?[$]?[\d⟦]", after):
        return False
    return not HEDGED_BEFORE.search(before)


def _may_begin(before: str, sign: str) -> bool:
    stripped = before.rstrip()
    if not stripped:
        return True
    previous = stripped[-1]
    attached = len(stripped) == len(before)
    if sign in "-+":
        # `20-3` subtracts, `x=-3` and `it is -3` do not.
        if (
            previous in ")]}⟧%+-*/^"
            or previous.isdigit()
            or re.search(r"(?<![^\W\d_])[A-Za-z]$", stripped)
        ):
            return False
        return not attached or not LETTER.match(previous) or bool(COPULA.search(stripped))
    if attached and LETTER.match(previous):
        return bool(COPULA.search(stripped))
    if previous == "(":
        return not re.search(r"\w\($", stripped)
    if previous == ":":
        return not re.search(r"\d\s*:$", stripped)
    # `1 250` and `5 min 30 s` are one thing of several numbers.
    if measured := re.search(r"[\d⟧] ?(?P<unit>[^\W\d_]+|['\"°])? +(?:and +)?$", before):
        return bool(measured["unit"]) and not units.known_unit(measured["unit"])
    return previous not in "*/^_+-√π±÷<>≤≥≠{[|\\∶" and not (attached and previous in ".'")


@lru_cache(maxsize=4)
def _pattern(decimal_comma: bool, spaced_thousands: bool) -> re.Pattern[str]:
    space = r"|\d{1,3}(?:[ ]\d{3})+" if spaced_thousands else ""
    if decimal_comma:
        # `3.5` can only have a decimal point, `1.250` has none.
        decimal = (
            r"\d+\.(?!\d{3}(?!\d))\d+(?![.,]?\d)"
            rf"|(?:\d{{1,3}}(?:\.\d{{3}})+(?!\d){space}|\d+)(?:,\d+)?(?!,?\d)"
        )
    else:
        decimal = (
            rf"(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?!\d)|\d{{1,3}}(?:'\d{{3}})+(?!\d){space}|\d+)"
            r"(?:\.\d+)?|(?<![\d.])\.\d+"
        )
    decimal = f"(?:{decimal})"
    scales = "|".join(sorted(SCALES, key=len, reverse=True))
    return re.compile(
        rf"""
        (?: (?P<sign>[-+])\s* )?
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
        (?: \s?(?P<percent>{PERCENT}) )?
        (?: \s?(?P<scale>{scales})(?![A-Za-z]) )?
        (?: (?<=[\d⟧])(?P<ordinal>st|nd|rd|th)\b )?
        """,
        re.VERBOSE | re.IGNORECASE,
    )


def _quantity(match: re.Match[str], form: NumberFormat) -> Quantity | None:
    if len(match[0]) > LONGEST_NUMBER:
        return None
    try:
        value, is_fraction = _value(match, form)
    except (ArithmeticError, ValueError):
        return None
    if (match["sign"] or match["inner_sign"] or "+") == "-":
        value = -value
    plain = match["number"] is not None and not (match["exponent"] or match["denominator"])
    scale = SCALES[match["scale"].lower()] if match["scale"] else 1
    unit = units.known_unit(_dollar(match["currency"])) if match["currency"] else COUNTED
    return Quantity(
        match[0].strip(),
        value * scale,
        unit or COUNTED,
        match["percent"] is not None,
        _places(match["number"], form) if plain and scale == 1 else None,
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
        part = Fraction(
            int(match["mixed_over"] or match["mixed_over_plain"]),
            int(match["mixed_under"] or match["mixed_under_plain"]),
        )
        if not 0 < part < 1:
            raise ValueError("not a mixed number")
        return int(match["mixed"]) + part, True
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
    text = text.replace(" ", "").replace("'", "")
    if not form.decimal_comma:
        return text.replace(",", "")
    if re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?", text) or "," in text:
        return text.replace(".", "").replace(",", ".")
    return text


def _places(text: str, form: NumberFormat) -> int:
    return len(_point(text, form).partition(".")[2])

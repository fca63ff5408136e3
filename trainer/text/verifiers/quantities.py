r"""What a number is: the whole text with an optional sign, currency, unit or percent sign.

`2√3`, `x^2`, `(3,4)`, `5 or 7`, a ratio, a time and a range are no numbers, nor are their last
digits. Values are exact fractions: 0.1 + 0.2 is 0.3 here. All functions read text that
`number_text.plain` has made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers import units
from trainer.text.verifiers.number_context import is_qualified, stands_alone
from trainer.text.verifiers.number_words import number_at_start
from trainer.text.verifiers.numerals import LONGEST_NUMBER, pattern, quantity_of
from trainer.text.verifiers.quantity import Quantity, equal
from trainer.text.verifiers.units import Unit

# Characters of a text that may be a number as a whole, and of the unit after one.
LONGEST_TEXT, LONGEST_UNIT = 2 * LONGEST_NUMBER, 80
# Words after a number in words; `Two trains leave the station` is no answer.
MOST_COUNTED_WORDS = 3

FILLERS = re.compile(
    r"^(?:\s|[(\[]?(?:about|around|approximately|approx\.?|roughly|nearly|almost|exactly|only|just|"
    r"simply|equal to|equals?|is|are|was|be|a total of|total|therefore|thus|hence|so|then|answer:?|"
    r"the answer is|约|大约|約|共)(?![A-Za-z]))+|^[≈~∴]+\s*",
    re.IGNORECASE,
)
# `x = 5, y = ` begins a second answer.
SEVERAL = re.compile(r"\d\s*(?:,|;|and|or)\s*[A-Za-z]\s*=\s*$")
STEP = re.compile(r"[=≈]|→|⇒|->|(?<![\s\w)])>(?=\S)|(?<=\d)>(?=\S)")


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
        return quantity if stands_alone(text, begin, end) else None
    sides = re.split(r"[=≈]|→|⇒|=>|->", text)
    if len(sides) > 1:
        side = sides[-1].strip()
        for begin, end, quantity in _candidates(side, form):
            is_first = not re.search(r"[\d⟦]", side[:begin])
            return quantity if is_first and stands_alone(side, begin, end) else None
    return None


def last(text: str, form: NumberFormat) -> Quantity | None:
    """The quantity at the end of a text, if its last digits are a whole number."""
    # `13>132` is a chain of steps; `x > 5` is an inequality.
    before, tail = _last_step(text)
    if re.fullmatch(r"\s*[-+]?[\d.,]+!+\s*", tail):
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
            return quantity if stands_alone(tail, begin, end) else None
    return None


def _last_step(text: str) -> tuple[str, str]:
    """The text up to its last sign of a step, such as `=`, and what follows."""
    end = max((match.end() for match in STEP.finditer(text)), default=0)
    return text[:end], text[end:][-LONGEST_TEXT:]


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
    if quoted := re.fullmatch(r"([\"'“‘])([^\"'“‘”’]*)[\"'”’]", text):
        text = quoted[2].strip()
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    match = pattern(form.decimal_comma, form.spaced_thousands).match(text)
    if not match:
        return _in_words(text)
    if not (quantity := quantity_of(match, form)):
        return None
    rest = text[match.end() :]
    if re.match(r"[A-Za-z]{1,2}(?![A-Za-z])", rest) and not units.known_unit(rest.strip(" .")):
        return None
    if not rest.strip():
        return quantity
    if is_qualified("", rest):
        return None
    # A percent sign or a currency has taken the place of the unit.
    unit = units.unit_of(rest) if len(rest) < LONGEST_UNIT else None
    if unit is None:
        return _compound(text, form)
    return _with_unit(quantity, unit, text)


def _in_words(text: str) -> Quantity | None:
    """`thirty-six eggs`."""
    if not (number := number_at_start(text)):
        return None
    value, end, is_fraction = number
    rest = text[end:]
    unit = units.unit_of(rest) if len(rest.split()) <= MOST_COUNTED_WORDS else None
    if unit is None or rest[:1].isalnum():
        return None
    places = 0 if value.denominator == 1 else None
    quantity = Quantity(text[:end], value, places=places, is_fraction=is_fraction)
    return _with_unit(quantity, unit, text)


def _compound(text: str, form: NumberFormat) -> Quantity | None:
    """A quantity in several units of one dimension: `2 hours and 30 minutes`."""
    total: Quantity | None = None
    last_end, last_factor = 0, Fraction(0)
    for begin, end, quantity in _candidates(text, form):
        size = quantity.value * quantity.unit.factor
        if total is None:
            if begin or not quantity.unit.dimension or quantity.value.denominator != 1:
                return None
            total = replace(quantity, text=text)
        elif (
            quantity.unit.dimension != total.unit.dimension
            or not 0 <= size < last_factor
            or not re.fullmatch(r"[\s,]*(?:and\s+)?", text[last_end:begin])
        ):
            return None
        else:
            total = replace(total, value=total.value + size / total.unit.factor, places=None)
        last_end, last_factor = end, quantity.unit.factor
    return total if total and not text[last_end:].strip(" .") else None


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
    numeral, position = pattern(form.decimal_comma, form.spaced_thousands), 0
    while match := numeral.search(text, position):
        # A unit may have digits of its own: `12 m^2`.
        end, unit = _unit_after(text, match.end())
        if quantity := quantity_of(match, form):
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
            unit_name = name[:length]
            # A unit is spelled out or a symbol of its own: not the `m` of `more`.
            if unit_name and (unit := units.known_unit(unit_name)):
                return begin + len(unit_name), unit
    return start, None

r"""Forms of mathematical answers that must be told apart before an expression is parsed.

A parser of expressions drops units and bases, takes 10:30 for a division and (1, 2) for an interval
or a set. So a text is first read as a number with its unit, a time, a ratio, a list or plain words;
what remains is a formula.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers import quantities
from trainer.text.verifiers.number_text import TEXT_COMMANDS, plain
from trainer.text.verifiers.quantities import LONGEST_TEXT
from trainer.text.verifiers.quantity import Quantity
from trainer.text.verifiers.units import COUNTED, Unit, unit_of

BRACKETS = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle"}
OPENING = re.compile(r"\\\{|\\langle|[(\[{]")
CLOSING = re.compile(r"\\\}|\\rangle|[)\]}]")
SEPARATOR = re.compile(
    r"\s*(?:,(?!\\!)|;|\\text(?:rm)?\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))"
    r"\s*(?:\\text(?:rm)?\{\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))?\s*"
)
SPACE = r"\\[,;: ]|~|\\q?quad(?![A-Za-z])|\s"
DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?")
SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle)(?![A-Za-z])\.?")
CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?)?\s*"
    r"(?P<half>[ap])?\.?\s*(?:(?<=[ap.\s])m\b\.?)?(?:\s*o'clock)?",
    re.IGNORECASE,
)
RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*[:∶]\s*\d+(?:\.\d+)?)+")
NAME = re.compile(
    r"\s*(?P<name>[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z](?:,\s*[A-Za-z])*\))?|\\[A-Za-z]+|"
    r"\\?[a-zA-Z]*\s*[A-Z]{2,3})\s*(?:=|\\in(?![A-Za-z])|∈)(?P<rest>.+)",
    re.DOTALL,
)
# Words that formulas are made of.
FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi", "infty", "infinity",
    "inf", "arcsin", "arccos", "arctan", "theta", "alpha", "beta", "gamma", "lambda", "mod", "max",
    "min", "det", "gcd", "lcm", "oo",
}  # fmt: skip
TRAILING_UNIT = re.compile(
    r"\s*(?:\\[,;: ]|~)*\s*\\(?:text|mathrm|mbox|textrm|rm)\s*\{(?P<unit>[^{}]*)\}"
    r"(?P<power>\^\{?-?\d\}?)?\s*$"
)


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `hour` is that of 24 hours if `half` (a or p) was written, else as written."""

    hour: int
    minute: int
    second: int
    has_half: bool


@dataclass(frozen=True, slots=True)
class Ratio:
    parts: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Several values. `opening` and `closing` are brackets, "" for a list without any."""

    opening: str
    closing: str
    items: tuple[Form, ...]
    text: str

    @property
    def is_ordered(self) -> bool:
        return self.opening not in ("", "\\{")


@dataclass(frozen=True, slots=True)
class Formula:
    """LaTeX for the parser, without its trailing unit."""

    text: str
    unit: Unit = COUNTED


@dataclass(frozen=True, slots=True)
class Form:
    """A value and the name that it is assigned to, as in `x = 5`."""

    value: Quantity | Clock | Ratio | Words | Listing | Formula
    name: str = ""


def form_of(text: str, numbers: NumberFormat) -> Form | None:
    """The form of a text that is an answer as a whole; None if it is empty."""
    text = _bare(text)
    if not text.strip(" .,;") or len(text) > LONGEST_TEXT:
        return None
    if _is_equation_of_name(text) and (match := NAME.fullmatch(text)):
        inner = form_of(re.split(r"(?<![<>\\!])=", match["rest"])[-1], numbers)
        return Form(inner.value, re.sub(r"[\s{}\\]", "", match["name"])) if inner else None
    return Form(_value(text, numbers))


def _value(
    text: str, numbers: NumberFormat
) -> Quantity | Clock | Ratio | Words | Listing | Formula:
    flat = " ".join(plain(text).split()).rstrip(" .,;")
    # `5m` is a product; as a unit it would stand apart or in \text.
    is_product = re.fullmatch(r"[-+]?[\d.,/⟦⟧]+[A-Za-z]", flat) is not None
    if not is_product and (quantity := quantities.single(flat, numbers)):
        return quantity
    if clock := _clock(flat):
        return clock
    if RATIO.fullmatch(flat):
        return Ratio(tuple(Fraction(part.strip()) for part in re.split("[:∶]", flat)))
    if re.fullmatch(r"[0-9A-Za-z]+_\(?\w+\)?", flat) and flat[0].isdigit():
        return Words(re.sub("[()]", "", flat.lower()))
    if match := re.fullmatch(r"\(?([A-DF-Za-df-hj-z])\)?", flat):
        return Words(match[1])
    if re.search(r"[\d⟧]\s*['\"]", flat):
        # Feet, inches and minutes of arc: the parser would drop the sign.
        return Words(flat)
    if listing := _listing(text, numbers):
        return listing
    if _is_words(text, flat):
        return Words(_letters(flat))
    return _formula(text, numbers)


def _bare(text: str) -> str:
    """The text without signs around and in formulas that have no meaning."""
    text = SIZES.sub("", text).strip()
    text = re.sub(r"^\s*(?:\\\[|\\\(|\$\$?)\s*|\s*(?:\\\]|\\\)|(?<!\\)\$\$?)[\s.,]*$", "", text)
    text = re.sub(r"(?<!\\)\$", "", text) if text.count("$") - text.count("\\$") > 1 else text
    text = re.sub(r"\*\*|`", "", text)
    text = re.sub(rf"^(?:{SPACE})+|(?:{SPACE})+$", "", text)
    return text.strip().rstrip(".,;。").strip()


def _is_equation_of_name(text: str) -> bool:
    # `x = 1, x = 2` and `x = 1 or 2` are lists; `\le` and `<` are no assignments.
    return not _split(text)[1:] and not re.search(r"[<>≤≥≠]|\\(?:l|g)e?q?(?![A-Za-z])|\\ne", text)


def _clock(text: str) -> Clock | None:
    match = CLOCK.fullmatch(text.strip())
    if not match or not (match["minute"] or match["half"]):
        return None
    if match["minute"] is None and not re.search(r"[ap]\.?\s*m", text, re.IGNORECASE):
        return None
    hour = int(match["hour"])
    half = (match["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    # 3:75 is a ratio.
    if hour > 24 or int(match["minute"] or 0) > 59:
        return None
    return Clock(hour, int(match["minute"] or 0), int(match["second"] or 0), bool(half))


def _listing(text: str, numbers: NumberFormat) -> Listing | None:
    if match := re.fullmatch(r"\\pm\s*(.+)|±\s*(.+)", text):
        inside = match[1] or match[2]
        items = (form_of(inside, numbers), form_of(f"-({inside})", numbers))
        if items[0] and isinstance(items[0].value, Quantity):
            items = (items[0], form_of(f"-{inside}", numbers))
        return _made("", "", items, text)
    opening, closing, inside = "", "", text
    match = re.match(r"\\\{|\\langle|[(\[]", text)
    if match and (end := _matching(text, match.end())) and not text[end[1] :].strip(" ."):
        opening, closing = match[0], text[end[0] : end[1]]
        inside = text[match.end() : end[0]]
    parts = _split(inside)
    if len(parts) < 2 and opening != "\\{":
        return None
    if not opening and numbers.decimal_comma and re.fullmatch(r"[-\d,.\s]+", text):
        return None
    return _made(opening, closing, tuple(form_of(part, numbers) for part in parts), text)


def _made(opening: str, closing: str, items: tuple[Form | None, ...], text: str) -> Listing | None:
    present = tuple(item for item in items if item is not None)
    return Listing(opening, closing, present, text) if len(present) == len(items) else None


def _split(text: str) -> list[str]:
    """Parts between commas, “and” and “or” outside of brackets."""
    parts, start, index = [], 0, 0
    depth = 0
    while index < len(text):
        if opening := OPENING.match(text, index):
            depth, index = depth + 1, opening.end()
        elif closing := CLOSING.match(text, index):
            depth, index = depth - 1, closing.end()
        elif depth == 0 and (match := SEPARATOR.match(text, index)) and match.end() > index:
            # `1,234` is one number; `{,}` was no separator anyway.
            if re.search(r"\d$", text[:index]) and re.match(r",\d{3}(?!\d)", text[index:]):
                index += 1
                continue
            parts.append(text[start:index])
            start = index = match.end()
        elif text.startswith("\\text", index) and (
            command := re.match(TEXT_COMMANDS, text[index:])
        ):
            index += command.end()
        else:
            index += 1
    return [*parts, text[start:]]


def _matching(text: str, start: int) -> tuple[int, int] | None:
    depth, index = 1, start
    while index < len(text):
        if opening := OPENING.match(text, index):
            depth, index = depth + 1, opening.end()
        elif closing := CLOSING.match(text, index):
            depth -= 1
            if depth == 0:
                return index, closing.end()
            index = closing.end()
        else:
            index += 1
    return None


def _is_words(text: str, flat: str) -> bool:
    if re.search(r"[\d⟦^_=+*/<>≤≥|√π∞{}]|\\(?!text|mathrm|mbox|\s)", flat):
        return False
    words = re.findall(r"[^\W\d_]+", flat)
    if not words or FUNCTIONS & {word.lower() for word in words}:
        return False
    return "\\text" in text or "\\mathrm" in text or any(len(word) > 2 for word in words)


def _letters(text: str) -> str:
    words = re.findall(r"\w+", text)
    is_letter = len(words) == 1 and len(words[0]) == 1
    return words[0] if is_letter else " ".join(words).casefold()


def _formula(text: str, numbers: NumberFormat) -> Formula:
    unit = COUNTED
    if match := TRAILING_UNIT.search(text):
        named = unit_of(match["unit"] + re.sub(r"[{}]", "", match["power"] or ""))
        if named is not None and text[: match.start()].strip():
            text, unit = text[: match.start()], named
    if re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        # The parser would take the degrees for radians.
        text = DEGREES.sub(r"{(\\frac{\1\\pi}{180})}", text)
    if numbers.decimal_comma:
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    text = re.sub(r"\\!", "", text).replace("{,}", "").replace("\\$", "").replace("\\%", "\\%")
    return Formula(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).strip(), unit)

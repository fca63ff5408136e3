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
from trainer.text.verifiers.number_words import number_at_start
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
    r"\\?[a-zA-Z]*\s*[A-Z]{2,3}|m?\s*\\angle\s*[A-Z]{1,3}|\\(?:text|mathrm)\{[^{}=]*\}|[A-Z]\([^()=]*\)|"
    r"\|[A-Z]\|)\s*(?:=|\\in(?![A-Za-z])|∈)(?P<rest>.+)",
    re.DOTALL,
)
# `5 = x`
NAME_LAST = re.compile(r"(?P<rest>[^=]*)=\s*(?P<name>[A-Za-z])\s*")
# Signs as people type them and their LaTeX.
TYPED = {
    "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "×": r"\times ", "·": r"\cdot ", "°": r"^\circ ",
    "∅": r"\emptyset ", "±": r"\pm ", "−": "-", "²": "^2", "³": "^3", "ℝ": r"\mathbb{R}",
    "≡": r"\equiv ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
}  # fmt: skip
TYPED_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[a-z]))")
# The parser takes the complex root.
ODD_ROOT = re.compile(r"\\sqrt\s*\[(\d*[13579])\]\s*\{\s*-([^{}]*)\}")
CONGRUENCE = re.compile(
    r"(?:(?P<name>[A-Za-z])\s*\\equiv)?\s*(?P<residue>-?\d+)\s*\(?\s*"
    r"\\?(?:pmod|bmod|mod|pod)\s*\{?\s*(?P<modulus>\d+)\s*\}?\s*\)?"
)
HAS_CONGRUENCE = re.compile(r"\\equiv|\\[pb]?mod(?![A-Za-z])|\\pod(?![A-Za-z])")
COLUMN = re.compile(r"\\begin\{([pbBv]?)matrix\}(?P<rows>[^&]*?)\\end\{\1matrix\}")
NUMERAL_IN_BASE = re.compile(
    r"\(?(?P<digits>\d[0-9A-Za-z]*)\)?(?:_\s*[({]*\s*(?P<base>\w+)\s*[)}]*|\s*\(?\s*base\s+(?P<named>\w+)\)?)"
)
ONE_LETTER = re.compile(r"[-+]?[\d.,/⟦⟧]+[A-Za-z]")
LETTERS = re.compile(
    r"[-+]?[\d.,/⟦⟧]+(?:(?<=⟧)[A-Za-z].*|\s*[A-Za-z]{1,2}(?:\^\d)?(?:\s+[A-Za-z]{1,2}(?:\^\d)?)+)"
)
TEXT_UNIT = re.compile(r"\\(?:text|mathrm|mbox|textrm|rm|operatorname)(?![A-Za-z])")
EMPTY_SET = re.compile(r"\\(?:emptyset|varnothing)|\\\{\s*\\\}|\\O")
SAME_WORDS = {
    "dne": "does not exist", "no solutions": "no solution", "none": "no solution",
    "no real solutions": "no real solution", "infinitely many solutions": "infinitely many",
}  # fmt: skip
HOURS_IN_WORDS = {"noon": 12, "midday": 12, "midnight": 0}
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
class Congruence:
    """A residue class; `name` is that of its unknown."""

    name: str
    residue: int
    modulus: int

    @property
    def text(self) -> str:
        return f"{self.residue} mod {self.modulus}"


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
    """A value and the name that it is assigned to, as in `x = 5`; `text` is all of it in LaTeX."""

    value: Value
    text: str
    name: str = ""


Value = Quantity | Clock | Ratio | Congruence | Words | Listing | Formula


def form_of(text: str, numbers: NumberFormat) -> Form | None:
    """The form of a text that is an answer as a whole; None if it is empty."""
    text = _typeset(_bare(text))
    if not text.strip(" .,;") or len(text) > LONGEST_TEXT:
        return None
    if HAS_CONGRUENCE.search(text):
        return _congruence(text)
    if _is_equation_of_name(text) and (match := NAME.fullmatch(text) or NAME_LAST.fullmatch(text)):
        rest = re.split(r"(?<![<>\\!])=", match["rest"])[-1]
        # `x = x` and `x = 2x - 1` say nothing about x.
        if not re.search(rf"(?<![A-Za-z\\]){re.escape(match['name'])}(?![A-Za-z])", rest):
            inner = form_of(rest, numbers)
            name = re.sub(r"[\s{}\\]", "", match["name"])
            return Form(inner.value, text, name) if inner else None
    return Form(_value(text, numbers), text)


def _value(text: str, numbers: NumberFormat) -> Value:
    flat = " ".join(plain(text).split()).rstrip(" .,;")
    # `5m`, `⟦1/2⟧mV^2` and `5 m V^2` are products; a unit stands apart by itself or in \text.
    is_product = ONE_LETTER.fullmatch(flat) or (
        not TEXT_UNIT.search(text) and LETTERS.fullmatch(flat)
    )
    if based := NUMERAL_IN_BASE.fullmatch(flat):
        return Words(f"{based['digits'].lower()}_{_base(based['base'] or based['named'])}")
    quantity = None if is_product else quantities.single(flat, numbers)
    if quantity and not _is_power_of_letters(text, flat, quantity):
        return quantity
    if clock := _clock(flat):
        return clock
    if RATIO.fullmatch(flat):
        return Ratio(tuple(Fraction(part.strip()) for part in re.split("[:∶]", flat)))
    if match := re.fullmatch(r"\(?([A-DF-Za-df-hj-z])\)?", flat):
        return Words(match[1])
    if re.search(r"[\d⟧]\s*['\"]", flat):
        # Feet, inches and minutes of arc: the parser would drop the sign.
        return Words(flat)
    if EMPTY_SET.fullmatch(text.strip()):
        return Words("empty set")
    if listing := _column(text, numbers) or _listing(text, numbers):
        return listing
    if _is_words(text, flat):
        return Words(_letters(flat))
    return _formula(text, numbers)


def _is_power_of_letters(text: str, flat: str, quantity: Quantity) -> bool:
    """Whether a unit is rather a formula, as in `0.5mV^2`; lengths have powers without \\text."""
    is_length = all(name == "length" for name, _ in quantity.unit.dimension)
    return "^" in flat and "/" not in flat and not is_length and not TEXT_UNIT.search(text)


def _base(name: str) -> str:
    """The base of a numeral in digits: 2 for `two`."""
    number = number_at_start(name)
    return str(number[0]) if number else name.lower()


def _congruence(text: str) -> Form | None:
    match = CONGRUENCE.fullmatch(text.strip())
    if not match or not int(match["modulus"]):
        return None
    modulus = int(match["modulus"])
    return Form(Congruence(match["name"] or "", int(match["residue"]) % modulus, modulus), text)


def _column(text: str, numbers: NumberFormat) -> Listing | None:
    """A matrix of one column as a vector."""
    if not (match := COLUMN.fullmatch(text.strip())) or match[1] == "v":
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["rows"]) if row.strip()]
    return _made("\\langle", "\\rangle", tuple(form_of(row, numbers) for row in rows), text)


def _typeset(text: str) -> str:
    """The text with LaTeX for signs such as √ and roots that the parser takes for real ones."""
    text = TYPED_ROOT.sub(r"\\sqrt{\1\2}", text)
    for sign, latex in TYPED.items():
        text = text.replace(sign, latex)
    return ODD_ROOT.sub(r"(-\\sqrt[\1]{\2})", text)


def _bare(text: str) -> str:
    """The text without signs around and in formulas that have no meaning."""
    text = SIZES.sub("", text).replace("{:}", ":").strip()
    # A single dollar sign is money.
    text = re.sub(r"(?<!\\)\$", "", text) if text.count("$") - text.count("\\$") > 1 else text
    text = re.sub(r"^\s*(?:\\\[|\\\()\s*|\s*(?:\\\]|\\\))[\s.,]*$", "", text)
    text = re.sub(r"\*\*|`", "", text)
    text = re.sub(rf"^(?:{SPACE})+|(?:{SPACE})+$", "", text)
    return text.strip().rstrip(".,;。").strip()


def _is_equation_of_name(text: str) -> bool:
    # `x = 1, x = 2` and `x = 1 or 2` are lists; `\le` and `<` are no assignments.
    return not _split(text)[1:] and not re.search(r"[<>≤≥≠]|\\(?:l|g)e?q?(?![A-Za-z])|\\ne", text)


def _clock(text: str) -> Clock | None:
    if text.lower() in HOURS_IN_WORDS:
        return Clock(HOURS_IN_WORDS[text.lower()], 0, 0, has_half=True)
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
    present: list[Form] = []
    for item in items:
        if item is None:
            return None
        # `0, ±2` are three values.
        value = item.value
        present += value.items if isinstance(value, Listing) and not value.opening else (item,)
    return Listing(opening, closing, tuple(present), text)


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
    joined = " ".join(words).casefold()
    return words[0] if is_letter else SAME_WORDS.get(joined, joined)


def _formula(text: str, numbers: NumberFormat) -> Formula:
    unit = COUNTED
    if match := TRAILING_UNIT.search(text):
        named = unit_of(match["unit"] + re.sub(r"[{}]", "", match["power"] or ""))
        if named is not None and text[: match.start()].strip():
            text, unit = text[: match.start()], named
    text = re.sub(r"\\log\s*_\s*(?:e|\{e\})(?![A-Za-z])", r"\\ln ", text)
    text = re.sub(r"\\lg(?![A-Za-z])", r"\\log_{10}", text)
    # A constant of integration may be a small or a capital letter.
    text = re.sub(r"\+\s*c\s*$", "+ C", text)
    if re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        # The parser would take the degrees for radians.
        text = DEGREES.sub(r"{(\\frac{\1\\pi}{180})}", text)
    if numbers.decimal_comma:
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    text = re.sub(r"\\!", "", text).replace("{,}", "").replace("\\$", "")
    return Formula(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).strip(), unit)

r"""Mathematical equality. Formulas are parsed by math-verify, which uses SymPy.

`math_forms` first tells apart what a parser of expressions confuses: units, bases, times, ratios,
points and intervals. Numbers are compared as exact fractions, or where one of them is a rounded
decimal with six significant digits or more, to its last digit. Constants are compared with relative
precision, so that nothing is equal only because it is tiny; formulas that math-verify calls equal
must also agree at a few points.

Only the child process imports this, because math-verify and SymPy can use unbounded time and memory
on hostile input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from trainer.spec import MathVerifier
from trainer.text.verifiers import quantities
from trainer.text.verifiers.answer_regions import Region, answered_text, regions, without_cue
from trainer.text.verifiers.math_forms import (
    FUNCTIONS,
    Clock,
    Form,
    Formula,
    Listing,
    Ratio,
    Words,
    form_of,
)
from trainer.text.verifiers.number_text import plain
from trainer.text.verifiers.numeric import SENTENCE_END
from trainer.text.verifiers.quantity import Quantity, equal
from trainer.text.verifiers.records import Verdict, clean

FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)"
    r"|(?<![\\\d])\$(?=[^\s$])((?:\\.|[^$\\\n])*?)(?<=\S)\$(?!\d)",
    re.DOTALL,
)
# Significant digits from which a decimal counts as a rounded value, as six decimals in math-verify.
ROUNDED_DIGITS = 6
EXACT_DIGITS = 40


class MathJudge:
    """The last expression of the completion must equal the reference."""

    def __init__(self, spec: MathVerifier) -> None:
        import math_verify
        from latex2sympy2_extended import NormalizationConfig

        self.spec = spec
        self.parse, self.verify = math_verify.parse, math_verify.verify
        # Units are compared before; stripping them would make 3 h equal to 3 min.
        self.config = [
            math_verify.LatexExtractionConfig(
                boxed_match_priority=0,
                normalization_config=NormalizationConfig(
                    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
                ),
            )
        ]
        # A problem's reference is read once for all answers to it.
        self._reference = lru_cache(maxsize=4096)(self._read_reference)
        # Loads grammar and solvers before the clock of the first verdict runs.
        self.judge("$x^2 + 2x + 1$", "(x + 1)^2")

    def read_reference(self, text: str) -> str:
        form, _ = self._reference(text)
        return clean(self._shown(form)) if form else ""

    def reference_mark(self, text: str) -> str:
        return self._reference(text)[1]

    def judge(self, completion: str, reference: str) -> Verdict:
        expected, _ = self._reference(reference)
        answer = self._answer(answered_text(completion, self.spec))
        read = clean(self._shown(answer)) if answer else ""
        if expected is None:
            return Verdict(None, read)
        return Verdict(answer is not None and bool(self._equal(answer, expected)), read)

    def _read_reference(self, text: str) -> tuple[Form | None, str]:
        found = regions(text)
        if not found:
            return None, ""
        form = (
            self._readable(form_of(text, self.spec))
            if not found[0].mark and not FORMULA.search(text.strip()[1:-1])
            else None
        )
        return form or self._in_region(found[0]), found[0].mark

    def _answer(self, text: str) -> Form | None:
        for region in regions(text):
            if form := self._in_region(region):
                return form
            if region.is_whole:
                return None
        return None

    def _in_region(self, region: Region) -> Form | None:
        if region.is_whole:
            text = region.text
            formulas = FORMULA.findall(text)
            if len(formulas) == 1 and not re.search(r"\d", FORMULA.sub("", text)):
                unit = FORMULA.sub("", without_cue(text)).strip(" .")
                text = next(filter(None, formulas[0])) + (f" \\text{{{unit}}}" if unit else "")
            return self._readable(form_of(without_cue(text), self.spec))
        return self._in_sentence(region.text) if region.mark else self._in_text(region.text)

    def _in_sentence(self, text: str) -> Form | None:
        """The answer after “The answer is”: one formula, several in a row, a number or words."""
        formulas = list(FORMULA.finditer(text))
        end = SENTENCE_END.search(text)
        while end and any(f.start() < end.start() < f.end() for f in formulas):
            end = SENTENCE_END.search(text, end.end())
        sentence = text[: end.start()] if end else text
        formulas = [formula for formula in formulas if formula.start() < len(sentence)]
        before = sentence[: formulas[0].start()] if formulas else sentence
        if formulas and not re.search(r"\d", before):
            return self._in_formulas(sentence, formulas)
        flat = plain(sentence)
        if form := self._readable(form_of(sentence, self.spec)):
            is_prose = isinstance(form.value, Formula | Listing) and _is_prose(sentence)
            is_words = isinstance(form.value, Words) and re.search(r"\d", flat)
            if not is_prose and not is_words:
                return form
        quantity = quantities.first(flat, self.spec)
        return Form(quantity) if quantity else None

    def _in_formulas(self, sentence: str, formulas: Sequence[re.Match[str]]) -> Form | None:
        """The first formula, with those that follow it after a comma, “and” or “or”."""
        parts = [_content(formulas[0])]
        end = formulas[0].end()
        for formula in formulas[1:]:
            if not re.fullmatch(r"\s*,?\s*(?:and|or|,)\s*", sentence[end : formula.start()]):
                break
            parts.append(_content(formula))
            end = formula.end()
        text = ", ".join(parts)
        if re.match(r"\s*(?:or|and)\s+[-\d]", sentence[end:]):
            return None
        # `$3$ hours` has its unit outside of the formula.
        unit = re.match(r"\s*(?P<unit>[^\W\d_][^\s.,;]*(?:\s*\^\s*\d)?|%|\\%)", sentence[end:])
        if unit and len(parts) == 1:
            with_unit = form_of(f"{text} {unit['unit']}", self.spec)
            if with_unit and isinstance(with_unit.value, Quantity):
                return with_unit
        return self._readable(form_of(text, self.spec))

    def _in_text(self, text: str) -> Form | None:
        """The answer of a text without mark: all of it, its last formula or its last number."""
        flat = plain(text)
        is_formula = "\n" not in text.strip() and not _is_prose(text)
        if is_formula and (form := self._readable(form_of(text, self.spec))):
            return form
        formulas = list(FORMULA.finditer(text))
        rest = text[formulas[-1].end() :] if formulas else text
        content = _content(formulas[-1]) if formulas and not re.search(r"\d", rest) else ""
        if form := self._readable(form_of(content, self.spec)):
            return form
        quantity = quantities.last(flat, self.spec)
        if quantity or re.search(r"\d", rest):
            return Form(quantity) if quantity else None
        return None

    def _readable(self, form: Form | None) -> Form | None:
        """The form, if the formulas in it can be parsed."""
        if form is None:
            return None
        value = form.value
        if isinstance(value, Formula):
            return form if self._parsed(value.text) is not None else None
        if isinstance(value, Listing):
            return form if all(self._readable(item) for item in value.items) else None
        return form

    def _parsed(self, latex: str) -> Any:
        # math-verify measures time by the alarm that judge_process needs for itself, so its own
        # limits are off.
        expressions = self.parse(
            f"${latex}$", self.config, fallback_mode="no_fallback", parsing_timeout=None
        )
        return expressions[0] if expressions else None

    def _shown(self, form: Form) -> str:
        value = form.value
        if isinstance(value, Clock):
            text = f"{value.hour}:{value.minute:02}"
        elif isinstance(value, Ratio):
            text = ":".join(map(str, value.parts))
        elif isinstance(value, Formula):
            text = str(self._parsed(value.text))
        elif isinstance(value, Quantity):
            text = value.shown
        else:
            text = value.text
        return f"{form.name} = {text}" if form.name else text

    def _equal(self, answer: Form, reference: Form) -> bool:
        if answer.name and reference.name and answer.name != reference.name:
            return False
        one, other = answer.value, reference.value
        if isinstance(one, Listing) and isinstance(other, Listing):
            return self._equal_lists(one, other)
        if isinstance(one, Quantity | Formula) and isinstance(other, Quantity | Formula):
            return self._equal_values(one, other)
        if isinstance(one, Listing | Formula) and isinstance(other, Listing | Formula):
            # An interval may be written as an inequality.
            return self._verified(self._parsed(one.text), self._parsed(other.text))
        return _equal_plain(one, other)

    def _equal_lists(self, answer: Listing, reference: Listing) -> bool:
        if answer.opening and reference.opening:
            brackets = (answer.opening, answer.closing), (reference.opening, reference.closing)
            if brackets[0] != brackets[1]:
                return False
        if len(answer.items) != len(reference.items):
            return False
        if answer.is_ordered or reference.is_ordered:
            return all(map(self._equal, answer.items, reference.items))
        remaining = list(reference.items)
        for item in answer.items:
            index = next((i for i, other in enumerate(remaining) if self._equal(item, other)), None)
            if index is None:
                return False
            del remaining[index]
        return True

    def _equal_values(self, answer: Quantity | Formula, reference: Quantity | Formula) -> bool:
        if isinstance(answer, Quantity) and isinstance(reference, Quantity):
            return _equal_numbers(answer, reference)
        one, other = answer.unit, reference.unit
        if one.dimension and other.dimension and one != other:
            return False
        expressions = [self._expression(answer), self._expression(reference)]
        if any(expression is None for expression in expressions):
            return False
        # An equation is no value: 10 is not the same as 2x = 10.
        relations = [
            bool(getattr(expression, "is_Relational", False)) for expression in expressions
        ]
        if relations[0] != relations[1]:
            return False
        if all(_is_constant(expression) for expression in expressions):
            return _equal_constants(
                expressions[0], expressions[1], *(_last_digit(side) for side in (answer, reference))
            )
        return self._verified(expressions[0], expressions[1]) and _agree(*expressions)

    def _expression(self, value: Quantity | Formula) -> Any:
        from sympy import I, Rational

        if isinstance(value, Formula):
            parsed = self._parsed(value.text)
            imaginary = {s: I for s in getattr(parsed, "free_symbols", ()) if s.name == "i"}
            return parsed.subs(imaginary) if imaginary else parsed
        number = value.value / (100 if value.is_percent else 1)
        return Rational(number.numerator, number.denominator)

    def _verified(self, answer: Any, reference: Any) -> bool:
        if answer is None or reference is None:
            return False
        return bool(
            self.verify(
                [reference],
                [answer],
                float_rounding=12,
                numeric_precision=30,
                allow_set_relation_comp=True,
                timeout_seconds=None,
            )
        )


def _content(formula: re.Match[str]) -> str:
    return next(filter(None, formula.groups()), "")


def _is_prose(text: str) -> bool:
    """Whether a text has a formula or a number among words that belong to none."""
    bare = re.sub(r"\\[A-Za-z]+(?:\{[^{}\\]*\})?", "", text)
    words = re.findall(r"[A-Za-z]{3,}|\b(?:so|we|is|to|of|in|it|by)\b", bare, re.IGNORECASE)
    is_words = not re.search(r"[\d$=^<>+*\\]", text)
    return not is_words and any(word.lower() not in FUNCTIONS for word in words)


def _equal_numbers(answer: Quantity, reference: Quantity) -> bool:
    if equal(answer, reference):
        return True
    if answer.is_percent or reference.is_percent or answer.base or reference.base:
        return False
    if answer.unit.dimension and reference.unit.dimension and answer.unit != reference.unit:
        return False
    return _round_to_each_other(answer, reference)


def _round_to_each_other(answer: Quantity, reference: Quantity) -> bool:
    """Whether one is the other, rounded to at least six significant digits."""
    difference = abs(answer.value - reference.value)
    if answer.places is not None and reference.places is not None:
        # An answer may be more precise than the reference, not less; a whole number is exact.
        if not 0 < reference.places < answer.places or reference.digits < ROUNDED_DIGITS:
            return False
        return difference <= Fraction(1, 2 * 10**reference.places)
    rounded = answer if answer.places is not None else reference
    last_digit = _last_digit(rounded)
    return last_digit is not None and difference <= last_digit


def _last_digit(value: Quantity | Formula) -> Fraction | None:
    """One unit of the last digit of a decimal that is precise enough to be a rounded value."""
    if not isinstance(value, Quantity) or not value.places or value.digits < ROUNDED_DIGITS:
        return None
    return Fraction(1, 10**value.places)


def _equal_plain(answer: object, reference: object) -> bool:
    """Whether two times, ratios or words are equal; other pairs of forms are not."""
    if isinstance(answer, Clock) and isinstance(reference, Clock):
        return _equal_times(answer, reference)
    if isinstance(answer, Ratio) and isinstance(reference, Ratio):
        return _equal_ratios(answer, reference)
    if isinstance(answer, Words) and isinstance(reference, Words):
        return answer.text == reference.text
    # 3:2 may be written as 3/2.
    for ratio, number in ((answer, reference), (reference, answer)):
        if isinstance(ratio, Ratio) and isinstance(number, Quantity) and number.is_fraction:
            return len(ratio.parts) == 2 and ratio.parts[0] == number.value * ratio.parts[1]
    return False


def _equal_times(answer: Clock, reference: Clock) -> bool:
    if (answer.minute, answer.second) != (reference.minute, reference.second):
        return False
    if answer.has_half == reference.has_half:
        return answer.hour == reference.hour
    # 22:30 is 10:30 p.m., and 10:30 without a half of the day may be either.
    written = reference if answer.has_half else answer
    known = answer if answer.has_half else reference
    return written.hour == known.hour or (
        written.hour <= 12 and written.hour % 12 == known.hour % 12
    )


def _equal_ratios(answer: Ratio, reference: Ratio) -> bool:
    if len(answer.parts) != len(reference.parts):
        return False
    one, other = answer.parts, reference.parts
    return all(one[0] * b == other[0] * a for a, b in zip(one, other, strict=True)) and (
        sum(one) * sum(other) > 0
    )


def _is_constant(expression: Any) -> bool:
    from sympy import Expr

    return isinstance(expression, Expr) and not expression.free_symbols


def _equal_constants(
    answer: Any, reference: Any, answer_digit: Fraction | None, reference_digit: Fraction | None
) -> bool:
    """Whether two constants agree to 40 digits, or to the last digit of a rounded one."""
    from sympy import Float, Rational, nan, simplify, zoo

    if any(constant.has(nan, zoo) for constant in (answer, reference)):
        return False
    if answer == reference:
        return True
    if answer.is_infinite or reference.is_infinite:
        return False
    # A decimal inside of an expression is exact as it is written, up to the parser's own digits.
    digits = 12 if answer.has(Float) or reference.has(Float) else EXACT_DIGITS
    difference = abs((answer - reference).doit().evalf(EXACT_DIGITS + 10))
    size = max(abs(answer.doit().evalf(EXACT_DIGITS)), abs(reference.doit().evalf(EXACT_DIGITS)))
    for last_digit in (answer_digit, reference_digit):
        if last_digit and difference <= Rational(last_digit.numerator, last_digit.denominator):
            return True
    if bool(difference <= size * Float(10) ** -digits):
        return size > 0 or simplify(answer - reference) == 0
    return False


def _agree(answer: Any, reference: Any) -> bool:
    """Whether two formulas with variables have the same value at a few points, relatively."""
    from sympy import Expr, Rational

    if not (isinstance(answer, Expr) and isinstance(reference, Expr)):
        return True
    symbols = sorted(answer.free_symbols | reference.free_symbols, key=str)
    for shift in (Rational(7, 5), Rational(13, 4), Rational(-11, 6)):
        point = {symbol: shift + Rational(index, 3) for index, symbol in enumerate(symbols)}
        one, other = (side.subs(point).doit().evalf(EXACT_DIGITS) for side in (answer, reference))
        if not (one.is_number and other.is_number and one.is_finite and other.is_finite):
            continue
        if abs(one - other) > max(abs(one), abs(other)) * Rational(1, 10**10):
            return False
    return True

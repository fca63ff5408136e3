r"""When two mathematical answers are equal.

Numbers are compared as exact fractions, or where one of them is a rounded decimal with six
significant digits or more, to its last digit. Constants are compared with relative precision, so
that nothing is equal only because it is tiny; formulas that math-verify calls equal must also agree
at a few points. Sets of reals are compared piece by piece, equations up to a factor.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.verifiers.math_forms import (
    Clock,
    Congruence,
    Form,
    Formula,
    Listing,
    Ratio,
    Words,
    form_of,
)
from trainer.text.verifiers.math_parsing import FormulaParser
from trainer.text.verifiers.quantity import Quantity, equal
from trainer.text.verifiers.real_sets import RealSet, are_equal, read_real_set

# Significant digits from which a decimal counts as a rounded value, as six decimals in math-verify.
ROUNDED_DIGITS = 6
EXACT_DIGITS = 40
# Digits of a whole number that is compared as such.
LONGEST_EXACT = 3000
# Brackets that are written for the same thing.
SAME_BRACKETS = {"\\langle": "(", "\\rangle": ")"}


class Equality:
    """Compares forms; formulas are parsed by `parser`."""

    def __init__(self, parser: FormulaParser, numbers: NumberFormat) -> None:
        self.parser = parser
        self.numbers = numbers

    def equal(self, answer: Form, reference: Form) -> bool:
        sets = self._set(answer), self._set(reference)
        if any(one is not None and one.is_definite for one in sets):
            return sets[0] is not None and sets[1] is not None and are_equal(sets[0], sets[1])
        if self._is_equation(answer) and self._is_equation(reference):
            return self._equal_equations(answer, reference)
        if answer.name and reference.name and answer.name != reference.name:
            return False
        one, other = _letter_as_formula(answer.value), _letter_as_formula(reference.value)
        if isinstance(one, Listing) and isinstance(other, Listing):
            return self._equal_lists(one, other)
        if isinstance(one, Quantity | Formula) and isinstance(other, Quantity | Formula):
            return self._equal_values(one, other)
        if isinstance(one, Listing | Formula) and isinstance(other, Listing | Formula):
            return self.parser.are_equal(
                self.parser.parsed(one.text), self.parser.parsed(other.text)
            )
        return _equal_plain(answer.value, reference.value)

    def is_set(self, form: Form) -> bool:
        """Whether a form is a set of reals in a spelling that is no list."""
        values = self._set(form)
        return values is not None and values.is_definite

    def _set(self, form: Form) -> RealSet | None:
        try:
            return read_real_set(form.text, self._end)
        except (TypeError, ValueError, NotImplementedError):
            # SymPy's answer to ends that it cannot compare.
            return None

    def _end(self, text: str) -> Any:
        """An end of an interval: a real number, or None."""
        form = form_of(text, self.numbers)
        if form is None or form.name or not isinstance(form.value, Quantity | Formula):
            return None
        value = self.parser.expression(form.value)
        return value if _is_constant(value) and value.is_real else None

    def _is_equation(self, form: Form) -> bool:
        """Whether the form relates unknowns, as `y = 2x + 1` does and `x = 5` does not."""
        if not isinstance(form.value, Formula):
            return False
        value = self.parser.parsed(form.value.text)
        if form.name:
            return len(form.name) == 1 and bool(getattr(value, "free_symbols", ()))
        return bool(getattr(value, "is_Relational", False))

    def _equal_equations(self, answer: Form, reference: Form) -> bool:
        """Whether one equation is the other times a factor that is not 0."""
        from sympy import Eq, expand

        sides = [self.parser.parsed(form.text) for form in (answer, reference)]
        if not all(isinstance(side, Eq) for side in sides):
            return self.parser.are_equal(*sides)
        one, other = (expand(side.lhs - side.rhs) for side in sides)
        if one == 0 or other == 0 or one.free_symbols != other.free_symbols:
            return False
        factor = None
        for point in _points(one, other):
            values = [side.subs(point).evalf(EXACT_DIGITS) for side in (one, other)]
            if not all(value.is_finite for value in values) or 0 in values:
                continue
            ratio = values[0] / values[1]
            if factor is not None and abs(ratio - factor) > abs(factor) * 10**-20:
                return False
            factor = ratio
        return factor is not None

    def _equal_lists(self, answer: Listing, reference: Listing) -> bool:
        brackets = [
            SAME_BRACKETS.get(listing.opening, listing.opening) + SAME_BRACKETS.get(
                listing.closing, listing.closing)
            for listing in (answer, reference)
        ]  # fmt: skip
        # A list without brackets may be a point or a set, not an interval.
        if brackets[0] != brackets[1] and not (
            "" in brackets and brackets[0] + brackets[1] in BARE
        ):
            return False
        if "" in brackets and "()" in brackets and any(map(_are_alternatives, (answer, reference))):
            return False
        if len(answer.items) != len(reference.items):
            return False
        if answer.is_ordered or reference.is_ordered:
            return all(map(self.equal, answer.items, reference.items))
        remaining = list(reference.items)
        for item in answer.items:
            index = next((i for i, other in enumerate(remaining) if self.equal(item, other)), None)
            if index is None:
                return False
            del remaining[index]
        return True

    def _equal_values(self, answer: Quantity | Formula, reference: Quantity | Formula) -> bool:
        from sympy import simplify

        if isinstance(answer, Quantity) and isinstance(reference, Quantity):
            return _equal_numbers(answer, reference)
        one, other = answer.unit, reference.unit
        if one.dimension and other.dimension and one != other:
            return False
        expressions = [self.parser.expression(answer), self.parser.expression(reference)]
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
        if any(getattr(expression, "is_Symbol", False) for expression in expressions):
            # math-verify compares a single symbol as it is written.
            return bool(simplify(expressions[0] - expressions[1]) == 0)
        return self.parser.are_equal(*expressions) and _agree(*expressions)


def _are_alternatives(listing: Listing) -> bool:
    """Whether the values are those of one unknown, as in `x = 3 or x = -1`, and so no point."""
    names = [item.name for item in listing.items if item.name]
    return len(set(names)) < len(names) or "\\pm" in listing.text


# Pairs of brackets of which one side has none.
BARE = ("()", "\\{\\}")


def _letter_as_formula(value: Any) -> Any:
    return Formula(value.text) if isinstance(value, Words) and len(value.text) == 1 else value


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
    return last_digit is not None and difference < last_digit


def _last_digit(value: Quantity | Formula) -> Fraction | None:
    """One unit of the last digit of a decimal that is precise enough to be a rounded value."""
    if not isinstance(value, Quantity) or not value.places or value.digits < ROUNDED_DIGITS:
        return None
    return Fraction(1, 10**value.places)


def _equal_plain(answer: object, reference: object) -> bool:
    """Whether two times, ratios, congruences or words are equal; other pairs of forms are not."""
    if isinstance(answer, Clock) and isinstance(reference, Clock):
        return _equal_times(answer, reference)
    if isinstance(answer, Ratio) and isinstance(reference, Ratio):
        return _equal_ratios(answer, reference)
    if isinstance(answer, Words | Congruence) and isinstance(reference, Words | Congruence):
        return answer == reference
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
    of_day = answer if answer.has_half else reference
    return written.hour == of_day.hour or (
        1 <= written.hour <= 12 and written.hour % 12 == of_day.hour % 12
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
    from sympy import Float, Rational, log, nan, simplify, zoo

    if any(constant.has(nan, zoo) for constant in (answer, reference)):
        return False
    if answer == reference:
        return True
    sizes = [abs(constant.doit().evalf(EXACT_DIGITS)) for constant in (answer, reference)]
    if not all(size.is_finite for size in sizes):
        return False
    size = max(sizes)
    # A decimal inside of an expression is exact as it is written, up to the parser's own digits. A
    # large number is compared to its last digit: 100! + 1 is not 100!.
    digits = 12
    if not (answer.has(Float) or reference.has(Float)):
        digits = EXACT_DIGITS + (min(int(log(size, 10)), LONGEST_EXACT) if size > 1 else 0)
    difference = abs((answer - reference).doit().evalf(digits + 10))
    for last_digit in (answer_digit, reference_digit):
        if last_digit and difference < Rational(last_digit.numerator, last_digit.denominator):
            return True
    if bool(difference <= size * Float(10) ** -digits):
        return bool(size > 0 or simplify(answer - reference) == 0)
    return False


def _agree(answer: Any, reference: Any) -> bool:
    """Whether two formulas with variables have the same value at a few points, relatively."""
    from sympy import Expr, Rational

    if not (isinstance(answer, Expr) and isinstance(reference, Expr)):
        return True
    for point in _points(answer, reference):
        one, other = (side.subs(point).doit().evalf(EXACT_DIGITS) for side in (answer, reference))
        if not (one.is_number and other.is_number and one.is_finite and other.is_finite):
            continue
        if abs(one - other) > max(abs(one), abs(other)) * Rational(1, 10**10):
            return False
    return True


def _points(one: Any, other: Any) -> list[dict[Any, Any]]:
    """A few values for the symbols of two expressions, on no common line or parabola."""
    from sympy import Rational

    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    return [
        {
            symbol: Rational(base ** (index + 1) + 1, 7 + index)
            for index, symbol in enumerate(symbols)
        }
        for base in (2, 3, 5, -3, -4)
    ]

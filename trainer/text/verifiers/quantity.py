"""A number with its unit, and when two of them are equal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from trainer.text.verifiers.units import COUNTED, Unit


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


def equal(answer: Quantity, reference: Quantity, tolerance: Fraction = Fraction(0)) -> bool:
    """Whether two quantities are the same within a relative tolerance.

    Units and bases that both have must agree; a unit that one side lacks does not matter, a base
    does. A reference with a percent sign accepts `50`, `50 %` and `0.5` for 50 %. Without one, up
    to 1 or as a fraction, it means a share, so that 50 % is 0.5; above 1 it means the number
    before the percent sign.
    """
    if answer.base != reference.base:
        return False
    values, expected = _comparable(answer, reference)
    return any(abs(value - expected) <= tolerance * abs(expected) for value in values)


def _comparable(answer: Quantity, reference: Quantity) -> tuple[tuple[Fraction, ...], Fraction]:
    """The values that count as the answer, and the reference's, in one unit."""
    one, other = answer.unit, reference.unit
    if one.dimension and other.dimension:
        if one.dimension != other.dimension:
            return (), reference.value
        return (answer.value * one.factor,), reference.value * other.factor
    if (answer.is_percent and other.dimension) or (reference.is_percent and one.dimension):
        return (), reference.value
    if reference.is_percent and not answer.is_percent:
        return (answer.value, answer.value * 100), reference.value
    if answer.is_percent and not reference.is_percent:
        is_share = reference.is_fraction or abs(reference.value) <= 1
        return (answer.value / 100 if is_share else answer.value,), reference.value
    return (answer.value,), reference.value

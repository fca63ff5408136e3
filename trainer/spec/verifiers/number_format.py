"""How numbers are written in a data set: settings of the verifiers that read numbers."""

from __future__ import annotations

from trainer.spec.base import Section, option


class NumberFormat(Section):
    """Which signs separate decimals and thousands."""

    decimal_comma: bool = option(
        False,
        title="Decimal comma",
        help="3,5 is three and a half, and 1.250 is a thousand two hundred and fifty.",
    )
    spaced_thousands: bool = option(
        False,
        title="Spaces between thousands",
        help="1 250 is one number. Thin spaces, also those of LaTeX (`1\\,250`), always are.",
    )

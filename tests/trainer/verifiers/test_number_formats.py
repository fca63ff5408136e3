"""The format of numbers is guessed from references that can only be read in one way."""

from __future__ import annotations

import pytest

from trainer.text.verifiers.number_formats import guess_number_format


@pytest.mark.parametrize(
    ("references", "decimal_comma", "spaced"),
    [
        (["3,5", "2", "1.250"], True, False),
        (["1.250.000,75"], True, False),
        (["3,50 €", "12,-"], True, False),
        (["3.5", "1,250"], False, False),
        (["1,250", "12,480"], False, False),
        (["1.250"], False, False),
        (["1 250", "3"], False, True),
        (["1 250,5"], True, True),
        (["(3,5)", "1, 2", "[0,5]"], False, False),
        (["3,5", "2.5", "1.5"], False, False),
        (["x^2", "blue", ""], False, False),
        (["$3{,}5$"], True, False),
    ],
)
def test_the_format_is_guessed(references: list[str], decimal_comma: bool, spaced: bool) -> None:
    guess = guess_number_format(references)
    assert (guess.decimal_comma, guess.spaced_thousands) == (decimal_comma, spaced)

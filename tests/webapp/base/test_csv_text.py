"""No cell of an exported table is a formula, and no number changes."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.base import csv_text

cells = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        '=HYPERLINK("http://evil.example")',
        "\uff1d1",
        "-5-5",
        "--5",
        "-",
    ],
)
def test_a_formula_becomes_text(text: str) -> None:
    assert csv_text.cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    [
        -5,
        -0.5,
        None,
        True,
        "-5",
        "+5",
        "-1,234.5",
        "-1e-3",
        "5",
        "-.5",
        "-inf",
        "a=b",
        "'=1",
        "x-y",
    ],
)
def test_numbers_and_harmless_text_stay(value: Any) -> None:
    assert csv_text.cell(value) == value


@given(st.lists(st.lists(cells, min_size=1, max_size=3), max_size=4))
def test_every_cell_is_kept(rows: list[list[Any]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text.text_of(rows), newline="")))
    expected = [[str(csv_text.cell(value)) for value in row] for row in rows]
    # An empty cell alone is an empty line for the reader, quoted by the writer.
    assert [row for row in read if row] == [row for row in expected if row]
    for row in read:
        for text in row:
            is_number = csv_text.NUMBER.fullmatch(text)
            assert is_number or not text.startswith((*csv_text.FORMULA, *csv_text.SKIPPED))

"""Lists and groups in the notation of Python and NumPy, as pandas writes them into a CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.problems.test_shapes import read
from trainer.text.problems.addresses import opened

PANDAS = [
    ("['5']", ["5"]),
    ("['2' '5']", ["2", "5"]),
    ("['2'\n 'it\\'s']", ["2", "it's"]),
    ('["a", \'b"\']', ["a", 'b"']),
    ("[1 2 3]", ["1", "2", "3"]),
    ("[1.50 nan]", ["1.50", None]),
    ("array(['a', 'b'], dtype=object)", "array(['a', 'b'], dtype=object)"),
    ("{'text': array(['a', 'b'], dtype=object), 'n': 1}", {"text": ["a", "b"], "n": "1"}),
    ("[{'a': None, 'b': True}\n {'a': (1, 2)}]", [{"a": None, "b": True}, {"a": ["1", "2"]}]),
    ("[array([1, 2]), array([], dtype=float64)]", [["1", "2"], []]),
    # Texts.
    ("[hint] Look", "[hint] Look"),
    ("[1, 2] and more", "[1, 2] and more"),
    ("['a' ... 'b']", "['a' ... 'b']"),
    ("[__import__('os').system('x')]", "[__import__('os').system('x')]"),
    ("{x}", "{x}"),
    ("[" * 5_000, "[" * 5_000),
    ("['a'", "['a'"),
]


@pytest.mark.parametrize(("cell", "value"), PANDAS)
def test_a_list_in_pythons_notation_is_opened(cell: str, value: object) -> None:
    assert opened(cell) == value


def test_a_table_that_pandas_wrote_is_read_as_the_rows_that_it_wrote(tmp_path: Path) -> None:
    rows = [
        ("[{'content': '2+3?', 'role': 'user'}\n {'content': '5', 'role': 'assistant'}]", "x"),
        ("[{'content': \"1+1?\", 'role': 'user'}\n {'content': '2', 'role': 'assistant'}]", "y"),
    ]
    table = "".join(f'"{cell.replace(chr(34), chr(34) * 2)}",{note}\n' for cell, note in rows)
    (tmp_path / "a.csv").write_text(f"messages,note\n{table}")
    problems = read(tmp_path / "a.csv")
    assert [(problem.question, problem.answer) for problem in problems] == [
        ("2+3?", "5"),
        ("1+1?", "2"),
    ]


@pytest.mark.parametrize(
    "choices",
    [
        "['one' 'two']",
        "['one', 'two']",
        '["one", "two"]',
        "{'text': array(['one', 'two'], dtype=object), 'label': array(['A', 'B'], dtype=object)}",
    ],
)
def test_choices_in_the_cells_of_a_table_are_read(tmp_path: Path, choices: str) -> None:
    cell = choices.replace('"', '""')
    (tmp_path / "a.csv").write_text(f'question,choices,answerKey\nWhich is even?,"{cell}",B\n')
    (problem,) = read(tmp_path / "a.csv")
    assert (problem.question, problem.answer) == ("Which is even?\nA. one\nB. two", "B")

"""JSON as tools write it: wrapped lists, splits, columns, and small liberties of notation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.problems.test_files import ROWS, read, refusal, write, write_jsonl
from trainer.text.problems import inspect

COLUMNS = {name: [row[name] for row in ROWS] for name in ("question", "answer")}
BY_INDEX = {
    name: {str(n): value for n, value in enumerate(values)} for name, values in COLUMNS.items()
}
NOTATIONS: dict[str, Any] = {
    "columns": BY_INDEX,
    "lists": COLUMNS,
    "split": {
        "columns": list(COLUMNS),
        "index": list(range(20)),
        "data": [list(row.values()) for row in ROWS],
    },
    "table": {"schema": {"fields": [{"name": "index"}]}, "data": ROWS},
    "records": ROWS,
    "data": {"data": ROWS},
    "version": {"version": 1.1, "license": "MIT", "rows": ROWS},
    "later": {"problems": ROWS, "count": 20},
    "one split": {"train": ROWS},
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("notation", NOTATIONS)
def test_a_table_is_read_in_every_notation(
    tmp_path: Path, notation: str, indent: int | None
) -> None:
    path = write(tmp_path / "a.json", json.dumps(NOTATIONS[notation], indent=indent))
    assert read(path).items == read(write_jsonl(tmp_path / "b.jsonl", ROWS)).items
    assert inspect(path).columns == ("question", "answer")


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_by_their_ids_keep_them(tmp_path: Path, indent: int | None) -> None:
    table = {f"test/{n}": row for n, row in enumerate(ROWS)}
    path = write(tmp_path / "a.json", json.dumps(table, indent=indent))
    found = read(path, columns={"id": "id"})
    assert [(problem.id, problem.answer) for problem in found.items][:2] == [
        ("test/0", "0"),
        ("test/1", "2"),
    ]


def test_one_of_several_splits_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps({"train": ROWS[:3], "test": ROWS[3:]}))
    assert [len(read(path, split=split)) for split in ("train", "test")] == [3, 17]
    assert "has a list of rows for each of “train” and “test”; choose one" in refusal(path)


def test_a_single_row_with_lists_is_no_table(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "?"}],
        "completion": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "5"}],
    }
    for indent in (None, 1):
        path = write(tmp_path / "a.json", json.dumps(row, indent=indent))
        (problem,) = read(path, shape="auto").items
        assert (problem.question, problem.answer) == ("2+3?", "5")


def test_a_comma_behind_the_last_entry_and_nan_are_read(tmp_path: Path) -> None:
    text = '[{"question": "a?", "answer": "1", "x": NaN, "y": -Infinity},\n]'
    assert read(write(tmp_path / "a.json", text)).items[0].answer == "1"
    path = write(tmp_path / "b.json", '[{"question": "a?", "answer": NaN}]')
    assert "row 1 of b.json has no answer" in refusal(path)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"question": "a?", "answer": %s}\n' % ("9" * 5_000), "9" * 5_000),
        ('{"question": "a?",\n "answer": %s}\n' % ("9" * 5_000), "9" * 5_000),
        ('[{"question": "a?", "answer": 1e400}]', "1e400"),
        ('{"question": ["a?", "b?"], "answer": [1e400, -1E+5000]}', "1e400"),
        ('{"question": "a?", "answer": 1, "x": ' + "[" * 900 + "]" * 900 + "}", "1"),
        ('[{"question": "a?", "answer": 1, "x": ' + '{"x":' * 300 + "1" + "}" * 301 + "]", "1"),
    ],
)
def test_numbers_of_any_length_and_deep_values_are_read(
    tmp_path: Path, text: str, answer: str
) -> None:
    path = write(tmp_path / "a.json", text)
    assert read(path).items[0].answer == answer
    assert inspect(path, 1).rows[0]["answer"] == answer[:2_000]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"data": [{"question": "a?", "answer": "1"}', "a.json is cut off in entry 2"),
        ('{"data": [{"question": "a?", "answer": 1}] "x": 1}', "the end of the object is missing"),
        ('{"data": [{"question": "a?", "answer": 1}]} []', "goes on after the end of its list"),
        ('{"question": {"0": "a?"', "a.json is cut off"),
    ],
)
def test_a_broken_wrapper_is_refused_with_its_place(
    tmp_path: Path, text: str, sentence: str
) -> None:
    assert sentence in refusal(write(tmp_path / "a.json", text))

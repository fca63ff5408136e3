"""Columns of Parquet and Arrow files of any type are read, or refused in a sentence."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.problems.test_files import read, refusal
from trainer.text.problems import inspect

WORDS = pa.array(["5", "6"])
TYPES: dict[str, tuple[Any, str]] = {
    "string": (WORDS, "5"),
    "large_string": (WORDS.cast(pa.large_string()), "5"),
    "string_view": (WORDS.cast(pa.string_view()), "5"),
    "dictionary": (WORDS.dictionary_encode(), "5"),
    "int8": (pa.array([5, 6], pa.int8()), "5"),
    "uint64": (pa.array([2**64 - 1, 6], pa.uint64()), str(2**64 - 1)),
    "double": (pa.array([0.1, 6]), "0.1"),
    "decimal": (pa.array([Decimal("1.50"), Decimal(2)]), "1.50"),
    "bool": (pa.array([True, False]), "True"),
    "date": (pa.array([datetime.date(2020, 2, 1)] * 2), "2020-02-01"),
    "timestamp": (pa.array([0, 1], pa.timestamp("us")), "1970-01-01 00:00:00"),
    "nanoseconds": (pa.array([1, 2], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    "time": (pa.array([1, 2], pa.time64("ns")), "00:00:00.000000001"),
    "list of one": (pa.array([["5"], ["6"]]), "5"),
}


def write(folder: Path, answer: Any, name: str = "a.parquet") -> Path:
    table = pa.table({"question": ["a?", "b?"], "answer": answer})
    if name.endswith(".arrow"):
        with pa.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table)
    else:
        pq.write_table(table, folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("type", TYPES)
def test_a_column_of_any_type_is_text(tmp_path: Path, type: str, name: str) -> None:
    answer, text = TYPES[type]
    path = write(tmp_path, answer, name)
    assert read(path).items[0].answer == text
    assert inspect(path).rows[0]["answer"].strip('[]"') == text


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (pa.array([{"a": {"b": ["4", "5"]}}] * 2), "answer.a.b[1]"),
        (pa.array([[("x", "5")]] * 2, pa.map_(pa.string(), pa.string())), "answer.x"),
        (pa.array([[(7, "5")]] * 2, pa.map_(pa.int32(), pa.string())), "answer.7"),
        (pa.array([[["4"], ["5"]]] * 2), "answer[1][0]"),
    ],
)
def test_a_nested_column_is_addressed(tmp_path: Path, answer: Any, address: str) -> None:
    assert read(write(tmp_path, answer), columns={"answer": address}).items[0].answer == "5"


def test_rows_of_many_batches_keep_their_numbers(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": str(n) if n != 40 else ""} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=30)
    assert "row 41 of a.parquet has no answer" in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pa.table([["a?"], ["1"], ["2"]], names=["question", "answer", "answer"]), "two columns"),
        (pa.table({"question": ["a?"], "answer": pa.array([b"x"])}), "holds a list or a group"),
        (
            pa.table(
                {
                    "question": ["a?"],
                    "answer": pa.Array.from_buffers(
                        pa.string(),
                        1,
                        [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")],
                    ),
                }
            ),
            "cannot be read as Parquet: a text in it is not UTF-8",
        ),
        (
            pa.table({"question": ["a?"], "answer": pa.array([10**15], pa.timestamp("ms"))}),
            "cannot be read as Parquet",
        ),
        (
            pa.table({"question": ["x" * 30_000_000] * 8, "answer": ["1"] * 8}),
            "rows 1 to 8 of a.parquet have 228 MB together",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_a_sentence(
    tmp_path: Path, table: Any, sentence: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert sentence in refusal(tmp_path / "a.parquet")

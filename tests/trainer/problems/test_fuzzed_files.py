"""Any bytes under any name: read, or refused in a sentence; nothing is written anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.spec import Columns, FileProblems
from trainer.text.problems import ProblemError, inspect, preview, survey
from trainer.text.problems.addresses import opened

NAMES = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.arrow", "a", "a.txt")
ROWS = [
    {"question": "2+3?", "answer": "5", "choices": ["4", "5"], "meta": {"x": [1, None]}},
    {"question": "é?", "answer": "#### 1,234", "choices": [], "meta": {"x": []}},
]


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, compression="zstd")
    return bytes(sink.getvalue())


def arrow() -> bytes:
    table = pa.Table.from_pylist(ROWS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


CORPUS: dict[str, bytes] = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "list": json.dumps(ROWS, indent=1).encode(),
    "wrapped": json.dumps({"version": 1, "data": ROWS}).encode(),
    "splits": json.dumps({"train": ROWS, "test": ROWS}).encode(),
    "columns": json.dumps({"question": {"0": "a"}, "answer": {"0": "1"}}).encode(),
    "csv": b"sep=;\nquestion;answer;choices\n\"2\n+3?\";5;['4' '5']\n",
    "utf-16": "question,answer\na?,1\n".encode("utf-16"),
    "parquet": parquet(),
    "arrow": arrow(),
}
COLUMNS = [
    Columns(),
    Columns(unusable_rows="leave_out", domain="meta.x[0]", history="meta"),
    Columns(choices="choices", answer_from="last_box"),
    Columns(question="{question}\n{meta.x}", answer="choices[0]"),
]


def check(folder: Path, name: str, content: bytes) -> None:
    """Read the file in every way; any error but ProblemError fails the test."""
    path = folder / name
    path.write_bytes(content)
    for columns in COLUMNS:
        source = FileProblems(path=f"file:{path}", columns=columns)
        reads: list[Callable[[], object]] = [
            lambda: inspect(path),
            lambda columns=columns: preview(path, columns),  # type: ignore[misc]
            lambda source=source: survey(source, path),  # type: ignore[misc]
        ]
        for read in reads:
            sentence = sentence_of(read)
            # It can be stored and sent to a page, and is not the whole file.
            assert sentence.encode() is not None
            assert len(sentence) < 10_000
    assert os.listdir(folder) == [name]
    path.unlink()


def sentence_of(read: Callable[[], object]) -> str:
    """Why a file cannot be read, or nothing."""
    try:
        read()
    except ProblemError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@given(name=st.sampled_from(NAMES), content=st.binary(max_size=60))
@example(name="a.jsonl", content=b"\0")
@example(name="a.csv", content=b"\xff\xfe")
@example(name="a.csv", content=b"\xff\xfe\x00\x00")
@example(name="a.json", content=b"{" + b'"a":{' * 2000)
@example(name="a.parquet", content=b"PAR1\0\0\0\0PAR1")
def test_any_bytes_are_read_or_refused(folder: Path, name: str, content: bytes) -> None:
    check(folder, name, content)


@given(
    kind=st.sampled_from(sorted(CORPUS)),
    name=st.sampled_from(NAMES),
    place=st.floats(0, 1),
    cut=st.integers(0, 12),
    put=st.binary(max_size=6) | st.sampled_from([b'"', b"{", b"[", b",", b"\n", b"\0", b"\r"]),
)
def test_a_file_with_a_damaged_part_is_read_or_refused(
    folder: Path, kind: str, name: str, place: float, cut: int, put: bytes
) -> None:
    content = CORPUS[kind]
    at = int(place * len(content))
    check(folder, name, content[:at] + put + content[at + cut :])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "from", "value", "text", "label", "0", "x.y[0]", ""]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
NAMED = st.sampled_from(
    ["question", "answer", "choices", "meta", "messages", "prompt", "chosen", "rejected", "{q}"]
)


@given(rows=st.lists(st.dictionaries(NAMED, VALUES, max_size=5), max_size=4))
def test_rows_of_any_values_are_read_or_refused(folder: Path, rows: list[object]) -> None:
    check(folder, "a.json", json.dumps(rows).encode())
    check(folder, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


@given(text=st.text(st.sampled_from("[]{}()'\"\\,: \n1.-eaNnoTruarray"), max_size=40))
def test_any_text_is_opened_or_stays(text: str) -> None:
    opened(f"[{text}]")
    opened(f"{{{text}}}")

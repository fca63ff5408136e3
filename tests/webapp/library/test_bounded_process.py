"""What one uploaded file can cost: its time and memory are those of a child, and are limited."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.webapp.library import hostile_children
from trainer.spec import Columns, FileProblems
from trainer.text.problems import ProblemError
from webapp.library import bounded_process, data_files

# Of a request of a member, in the child and in the web server together.
MOST_MEMORY = 300 * 2**20
SECONDS = 120.0
LONG = "x" * 1_500_000


def parquet(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array([LONG]))
    table = pa.table({"question": texts, "answer": ["1"] * 1024})
    pq.write_table(table, path, compression="zstd", store_schema=False)


def parquet_list(path: Path) -> None:
    """One row whose list names one text 10,000 times."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array([LONG]))
    column = pa.ListArray.from_arrays(pa.array([0, 10_000], pa.int32()), texts)
    pq.write_table(pa.table({"question": ["a"], "answer": column}), path, compression="zstd")


def stream(path: Path, table: Any, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(str(path), table.schema, options=options) as file:
        file.write_table(table)


def arrow(path: Path) -> None:
    table = pa.table({"question": [LONG] * 200, "answer": ["1"] * 200})
    stream(path, table, "zstd")


def arrow_dictionary(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array([LONG]))
    stream(path, pa.table({"question": texts, "answer": ["1"] * 1024}))


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


HOSTILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "parquet": ("a.parquet", parquet),
    "parquet list": ("a.parquet", parquet_list),
    "arrow": ("a.arrow", arrow),
    "arrow dictionary": ("a.arrow", arrow_dictionary),
    "json of lists": ("a.jsonl", text('{"question": [' + "[]," * 2_500_000 + "1]}\n")),
    "json of groups": ("a.json", text('[{"question": [' + '{"a":1},' * 1_200_000 + "1]}]")),
    "columns": ("a.json", text(json.dumps({n: ["x"] * 2_000_000 for n in ("question", "a")}))),
    "cells": ("a.csv", text("question,answer\n" + ('"' + "x" * 7_000_000 + '",1\n') * 9)),
    "names": ("a.csv", text(",".join(f"c{n}" for n in range(700_000)) + "\n1\n")),
    "values": ("a.csv", text("question,answer\n1,2" + "," * 2_000_000 + "\n")),
    "no line break": ("a.jsonl", text('{"question": "' + "é" * 9_000_000)),
    "python": ("a.csv", text('question,answer\n"[' + "1 " * 490_000 + ']",1\n')),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_file_costs_more_memory_than_a_request_may(tmp_path: Path, kind: str) -> None:
    name, make = HOSTILE[kind]
    path = tmp_path / name
    make(path)
    source = FileProblems(path=f"file:{path}", columns=Columns())
    before = hostile_children.peak_memory()
    for function, *arguments in (
        (data_files.look, path),
        (data_files.first_problems, path, source),
    ):
        assert cost(function, *arguments) < MOST_MEMORY
    # Nothing of it is in this process.
    assert hostile_children.peak_memory() - before < MOST_MEMORY // 4


def cost(function: Callable[..., Any], *arguments: Any) -> int:
    """Most bytes that a child held; 0 if it was ended because of them."""
    try:
        peak, _ = bounded_process.run(hostile_children.cost, function, *arguments, seconds=SECONDS)
    except ProblemError as error:
        if str(error) not in (bounded_process.TOO_MUCH_MEMORY, bounded_process.ENDED):
            raise
        return 0
    return int(peak)


def test_a_column_that_many_rows_share_is_looked_at(tmp_path: Path) -> None:
    """The file of 500 bytes that decodes to 1.5 GB: its head can be read, and its rows named."""
    path = tmp_path / "a.parquet"
    parquet(path)
    assert path.stat().st_size < 1_000
    inspection, _ = bounded_process.run(data_files.look, path, seconds=SECONDS)
    assert inspection.columns == ("question", "answer")
    source = FileProblems(path=f"file:{path}", columns=Columns())
    with pytest.raises(ProblemError, match="has 1,500,000 characters; at most 100,000 are read"):
        bounded_process.run(data_files.first_problems, path, source, seconds=SECONDS)


def test_a_child_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ProblemError, match=r"takes more than the 0\.5 s that are allowed"):
        bounded_process.run(hostile_children.hang, seconds=0.5)


def test_a_child_without_memory_is_a_sentence() -> None:
    with pytest.raises(ProblemError, match="needs more than the 208 MB of memory"):
        bounded_process.run(hostile_children.allocate, seconds=SECONDS)


def test_a_child_that_dies_is_a_sentence() -> None:
    with pytest.raises(ProblemError, match="was ended: the file is damaged, or it needs more"):
        bounded_process.run(hostile_children.die, seconds=SECONDS)


def test_a_child_reports_what_is_wrong_with_the_file() -> None:
    with pytest.raises(ProblemError, match=re.escape("row 1 of a.csv has no answer")):
        bounded_process.run(hostile_children.refuse, seconds=SECONDS)


def test_a_mistake_of_ours_is_no_sentence_about_the_file() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'a mistake'"):
        bounded_process.run(hostile_children.fail, seconds=SECONDS)


def test_one_team_cannot_take_all_threads_of_the_server(tmp_path: Path) -> None:
    """Files that hang keep some threads; further pages are answered at once, others still read."""
    go = tmp_path / "go"
    most = bounded_process.MOST_PAGES_OF_ONE

    def read(team: int) -> str:
        try:
            return str(
                bounded_process.for_page(team, hostile_children.wait_for, go, seconds=SECONDS)
            )
        except ProblemError as error:
            return str(error)

    with ThreadPoolExecutor(12) as pool:
        first = [pool.submit(read, 1) for _ in range(most + 3)]
        # The refused ones are answered while the others wait.
        while sum(answer.done() for answer in first) < 3:
            pass
        assert {answer.result() for answer in first if answer.done()} == {bounded_process.BUSY}
        second = pool.submit(read, 2)
        go.touch()
        assert second.result() == "seen"
        results = [answer.result() for answer in first]
    assert results.count("seen") == most
    assert bounded_process._pages == {}

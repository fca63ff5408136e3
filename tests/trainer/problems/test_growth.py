"""Work grows with the size of a file and not with its square.

Work is counted, not timed: the lines and the calls that Python executes. Where the work is in one
call into C (`list.count`, a regular expression), no line shows it; there the size is one that
quadratic work would not finish in hours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.trainer.problems.test_files import write
from trainer.spec import Columns, FileProblems
from trainer.text.problems import ProblemError, inspect, preview, survey
from trainer.text.problems.mapping import gsm8k_parts, last_box

SIZE = 400


def row(**values: object) -> str:
    return json.dumps({"question": "a?", "answer": "1", **values}) + "\n"


def table(names: list[str], rows: int = 1) -> str:
    return ",".join(names) + "\n" + (",".join("1" for _ in names) + "\n") * rows


# Name of the file and its content by size.
FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "header": ("a.csv", lambda n: table(["question", "answer", *(f"c{i}" for i in range(n))])),
    "equal names": ("a.csv", lambda n: table(["a"] * n)),
    "pairs": ("a.jsonl", lambda n: row(**{f"k{i}": i for i in range(n)}) * 2),
    "groups": ("a.jsonl", lambda n: row(x={f"k{i}": {"y": i} for i in range(n)})),
    "lists": ("a.jsonl", lambda n: row(x=[[i] for i in range(n)])),
    "text of a group": ("a.jsonl", lambda n: row(x=json.dumps({f"k{i}": i for i in range(n)}))),
    "text of a list": ("a.jsonl", lambda n: row(x=f"[{'1 ' * n}]")),
    "rows": ("a.jsonl", lambda n: "".join(row(id=str(i)) for i in range(n))),
    "repeats": ("a.jsonl", lambda n: row() * n),
    "groups of problems": (
        "a.jsonl",
        lambda n: "".join(row(id=str(i), topic="t" * 99 + str(i)) for i in range(n)),
    ),
    "messages": (
        "a.jsonl",
        lambda n: row(
            question=[{"role": "user", "content": "a"}] * n, answer="1", system="Be brief."
        ),
    ),
    "columns": (
        "a.json",
        lambda n: json.dumps(
            {name: {str(i): f"{i}" for i in range(n)} for name in ("question", "answer")}
        ),
    ),
    "wrapped": ("a.json", lambda n: '{"data": [' + ",".join([row()] * n) + "]}"),
    "lines in quotes": ("a.csv", lambda n: 'question,answer\n"' + "a\n" * n + '",1\n'),
    "quotes in quotes": ("a.csv", lambda n: 'question,answer\n"' + '""' * n + '",1\n'),
    "names": ("a.jsonl", lambda n: row(**{"x" * n: 1})),
}
COLUMNS = Columns(domain=None, unusable_rows="leave_out")


def read_all(path: Path) -> None:
    for read in (
        lambda: inspect(path),
        lambda: preview(path, COLUMNS),
        lambda: survey(FileProblems(path=f"file:{path}", columns=COLUMNS), path),
    ):
        try:
            read()
        except ProblemError:
            continue


def work(path: Path) -> int:
    """The lines that Python executes to read a file."""
    lines = 0

    def count(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return count

    former = sys.gettrace()
    sys.settrace(count)
    try:
        read_all(path)
    finally:
        sys.settrace(former)
    return lines


@pytest.mark.parametrize("kind", FILES)
def test_four_times_the_input_is_about_four_times_the_work(tmp_path: Path, kind: str) -> None:
    name, content = FILES[kind]
    read_all(write(tmp_path / name, content(2)))
    small, large = (work(write(tmp_path / name, content(n))) for n in (SIZE, 4 * SIZE))
    # Quadratic work would be sixteen times as much.
    assert large < 6 * small


MANY = 200_000
LONG: dict[str, str] = {
    "header": table([f"c{i}" for i in range(MANY)]),
    "line breaks": row(answer="\n" * MANY + "x"),
    "spaces": row(answer="1" + " " * MANY + "x"),
    "marks": row(answer="#### 1 " * MANY),
    "boxes": row(answer="\\boxed{" * MANY),
    "braces": row(answer="\\boxed" * MANY + "{" * MANY),
    "keys": row(**{f"k{i}": i for i in range(MANY)}),
    "dots": row(**{"a." * MANY: 1}),
}


@pytest.mark.parametrize("kind", LONG)
def test_hundreds_of_thousands_are_read(tmp_path: Path, kind: str) -> None:
    read_all(write(tmp_path / ("a.csv" if kind == "header" else "a.jsonl"), LONG[kind]))


@pytest.mark.parametrize("text", ["\n" * MANY, "#### 1 " * MANY, "\\boxed{" * MANY, " " * MANY])
def test_answers_of_any_length_are_read(text: str) -> None:
    gsm8k_parts(text)
    last_box(text)


def test_an_address_of_any_length_leads_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row())
    for address in ("a." * MANY, "[0]" * MANY, "question" + "[0]" * MANY, "answer." * MANY):
        with pytest.raises(ProblemError, match=r"has no column|no row of"):
            preview(path, Columns(question=address))

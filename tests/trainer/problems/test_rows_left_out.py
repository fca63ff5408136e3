"""Rows that are no problems are named or left out by choice; names of groups are shortened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.trainer.problems.test_files import ROWS, read, refusal, write_csv, write_jsonl
from trainer.spec import Columns, Data, FileProblems
from trainer.text.problems import load, preview, survey


def test_problems_without_an_answer_are_named(tmp_path: Path) -> None:
    rows: list[Mapping[str, object]] = [
        *ROWS,
        {"question": "why?", "answer": " "},
        *ROWS[:3],
        {"question": "how?", "answer": None},
    ]
    assert refusal(write_jsonl(tmp_path / "a.jsonl", rows)) == (
        "rows 21, 25 of a.jsonl have no answer; fill it in, remove the rows, or set unusable rows "
        "to leave out"
    )
    assert "row 2 of b.csv has no question" in refusal(
        write_csv(tmp_path / "b.csv", [{"question": "", "answer": "1"}])
    )
    many = [{"question": "why?", "answer": ""}] * 100
    assert "rows 1, 2, 3, 4, 5 and perhaps more of c.jsonl have no answer" in refusal(
        write_jsonl(tmp_path / "c.jsonl", many)
    )


def test_repeated_ids_are_refused_and_repeated_problems_left_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{**row, "nr": 1} for row in ROWS])
    assert "rows 1 and 2 have the same id “1”" in refusal(path, columns={"id": "nr"})
    twice = read(write_jsonl(tmp_path / "b.jsonl", [*ROWS, *ROWS[:4]]))
    assert len(twice) == 20
    assert twice.notes == (
        "b.jsonl: 4 rows were left out: repeats an earlier row (rows 21, 22, 23, 24)",
    )


def test_names_of_groups_are_on_one_line(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", [{**row, "topic": f"topic\n{n}"} for n, row in enumerate(ROWS)]
    )
    assert read(path, columns={"domain": "topic"}, limit=5).items[0].domain.startswith("topic ")


def test_long_names_of_groups_are_shortened_and_stay_different(tmp_path: Path) -> None:
    topics = ["Mathematics -> " + "x" * n + " -> Counting" for n in (20, 90, 91, 92, 90)]
    topics += ["Mathematics -> " + "x" * 50 + letter + "x" * 40 + " -> Counting" for letter in "ab"]
    rows = [{**row, "topic": topic} for row, topic in zip(ROWS, topics, strict=False)]
    found = read(write_jsonl(tmp_path / "a.jsonl", rows), columns={"domain": "topic"})
    domains = [problem.domain for problem in found.items]
    assert domains[0] == topics[0]
    assert [len(set(names)) for names in (topics, domains)] == [6, 6]
    assert domains[1] == domains[4]
    assert all(len(domain) <= 64 for domain in domains)
    assert all(domain.startswith("Mathematics -> x") for domain in domains)
    assert all(domain.endswith("x -> Counting") for domain in domains)
    (note,) = found.notes
    assert note.startswith("5 domain names of a.jsonl with more than 64 characters are shortened")
    assert topics[1][:100] in note


def test_long_ids_are_shortened_and_stay_different(tmp_path: Path) -> None:
    ids = ["https://" + "x" * 80 + str(n) for n in range(20)]
    rows = [{**row, "nr": id} for row, id in zip(ROWS, ids, strict=True)]
    found = read(write_jsonl(tmp_path / "a.jsonl", rows), columns={"id": "nr"})
    assert len({problem.id for problem in found.items}) == 20
    assert all(len(problem.id) == 64 for problem in found.items)


def test_a_column_of_too_many_groups_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [
        {"question": f"{n}?", "answer": "1", "topic": str(n), "kind": str(n % 2)}
        for n in range(101)
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    found = read(path, columns={"domain": "topic", "difficulty": "kind"})
    assert {problem.domain for problem in found.items} == {""}
    assert {problem.difficulty for problem in found.items} == {"0", "1"}
    assert "the domain column “topic” of a.jsonl has more than 100 different" in found.notes[0]
    columns = Columns(domain="topic", difficulty="kind")
    facts = survey(FileProblems(path="file:a", columns=columns), path)
    assert (facts.fingerprint, facts.count) == (found.fingerprint, 101)
    assert facts.columns == Columns(difficulty="kind")
    # What was chosen for a run is the same as what was kept.
    assert read(path, columns=facts.columns.model_dump()).fingerprint == found.fingerprint


UNUSABLE: list[tuple[Mapping[str, object], str]] = [
    ({"question": "", "answer": "1"}, "no question"),
    ({"question": None, "answer": "1"}, "no question"),
    ({"question": [], "answer": "1"}, "no question"),
    ({"question": "why?", "answer": " "}, "no answer"),
    ({"question": "why?", "answer": math.nan}, "no answer"),
    ({"question": "why?"}, "no column “answer”"),
    ({"question": "x" * 101, "answer": "1"}, "too long"),
    ({"question": "x" * 200_000, "answer": "1"}, "too long"),
    ({"question": "why?", "answer": "1" * 101}, "too long"),
    ({"question": ["a", "b"], "answer": "1"}, "not readable"),
    ({"question": "\ud800", "answer": "1"}, "not readable"),
    ({"question": [{"role": "alien", "content": "x"}], "answer": "1"}, "not readable"),
    ({"question": ROWS[0]["question"], "answer": "0"}, "repeats an earlier row"),
]


@pytest.mark.parametrize(("row", "reason"), UNUSABLE)
def test_unusable_rows_are_left_out_by_choice_counted_and_named(
    tmp_path: Path, row: Mapping[str, object], reason: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, row, row, *([row] * 5)])
    columns = Columns(unusable_rows="leave_out", longest=100)
    source = FileProblems(path=f"file:{path}", columns=columns)
    found = survey(source, path)
    assert (found.count, found.rows) == (20, 27)
    assert [(left.reason, left.count, left.rows) for left in found.left_out] == [
        (reason, 7, (21, 22, 23, 24, 25))
    ]
    loaded = load(source, Data())
    assert (
        loaded.fingerprint
        == found.fingerprint
        == read(path.with_name("a.jsonl"), columns=columns.model_dump()).fingerprint
    )
    assert loaded.notes == (
        f"a.jsonl: 7 rows were left out: {reason} (rows 21, 22, 23, 24, 25, …)",
    )
    # The preview shows what a run gets, but for repeats.
    first = preview(write_jsonl(tmp_path / "b.jsonl", [row, *ROWS]), columns)
    assert len(first) == 10
    assert reason.startswith("repeats") or first == list(loaded.items[:10])


@pytest.mark.parametrize(("row", "reason"), UNUSABLE[:-1])
def test_unusable_rows_refuse_the_file_without_that_choice(
    tmp_path: Path, row: Mapping[str, object], reason: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, row])
    assert "row 21 of a.jsonl" in refusal(path, columns={"longest": 100})


def test_repeated_ids_are_left_out_by_choice(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{**row, "nr": n % 18} for n, row in enumerate(ROWS)])
    found = read(path, columns={"id": "nr", "unusable_rows": "leave_out"})
    assert found.notes == (
        "a.jsonl: 2 rows were left out: same id as an earlier row (rows 19, 20)",
    )


def test_a_file_of_which_no_row_is_left_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "why?", "answer": "1"}] * 3)
    assert "no row of a.jsonl is a problem: 3 rows were left out: no column “question”" in refusal(
        path, columns={"unusable_rows": "leave_out"}
    )

"""Preference pairs are read row by row from a teacher's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.teachers.classroom import definition, opened, question
from trainer.spec import TextTeacher
from trainer.text.problems import Problem, ProblemError
from trainer.text.teachers.stored_texts import pairs_for

STAGE = {
    "source": "pairs",
    "objective": {"kind": "dpo"},
    "pairs": {"rejected": "column"},
}


def teacher(path: Path, *rows: dict[str, Any], **columns: str) -> dict[str, Any]:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return {"kind": "texts", "path": f"file:{path}", "rejected": "rejected", **columns}


def test_the_answers_of_a_row_stay_together_and_the_first_rows_are_taken(tmp_path: Path) -> None:
    rows = [
        {"question": "a", "response": chosen, "rejected": rejected}
        for chosen, rejected in (("1", "x"), ("1", "y"), ("2", "x"))
    ]
    other = {"question": " b ", "response": "3", "rejected": ""}
    source = TextTeacher.model_validate(teacher(tmp_path / "p.jsonl", *rows, other))
    problems = [Problem("a", "a", "1"), Problem("b", "b", "1"), Problem("c", "c", "1")]
    assert pairs_for(source, problems, 5) == [
        [("1", "x"), ("1", "y"), ("2", "x")],
        [("3", "")],
        [],
    ]
    assert pairs_for(source, problems, 2)[0] == [("1", "x"), ("1", "y")]


def test_of_lists_of_messages_the_replies_are_the_answers(tmp_path: Path) -> None:
    def conversation(reply: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "a"}, {"role": "assistant", "content": reply}]

    row = {"question": "a", "response": conversation("good"), "rejected": conversation("bad")}
    source = TextTeacher.model_validate(teacher(tmp_path / "p.jsonl", row))
    assert pairs_for(source, [Problem("a", "a", "1")], 1) == [[("good", "bad")]]


def test_a_rejected_column_that_is_not_there_is_refused_before_the_run(tmp_path: Path) -> None:
    settings = teacher(tmp_path / "p.jsonl", {"question": "a", "response": "1", "bad": "2"})
    teachers = opened(definition(settings, [STAGE]))
    with pytest.raises(ProblemError, match="has no column “rejected”"):
        teachers.check([question("a")])

"""Problems that are held out of a file: which ones, and that both files read as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.spec import ArithmeticProblems, Columns, Data, FileProblems
from trainer.text.problems import Problem, ProblemError, hold_out, load

QUESTIONS = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=12)


def read(path: Path, columns: Columns) -> list[Problem]:
    source = FileProblems(path=f"file:{path}", format="jsonl", columns=columns)
    data = Data(train=source, evaluation=ArithmeticProblems())
    return list(load(source, data, lambda _: path).items)


def held_out(
    folder: Path, rows: list[dict[str, Any]], questions: int, seed: int = 0, **columns: Any
) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """(all problems, training problems, held-out problems) of a file with these rows."""
    path = folder / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping = Columns(**columns)
    source = FileProblems(path=f"file:{path}", format="jsonl", columns=mapping)
    files = folder / "training.jsonl", folder / "held_out.jsonl"
    made = hold_out(source, path, questions, seed, *files)
    return read(path, mapping), *(read(file, made) for file in files)


@settings(max_examples=40, deadline=None)
@given(QUESTIONS, st.integers(1, 8), st.integers(0, 3))
def test_every_problem_is_on_one_side_with_all_copies_of_its_question(
    tmp_path_factory: pytest.TempPathFactory, questions: list[str], count: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("held")
    rows = [
        {"question": f"{question}?", "answer": str(number)}
        for number, question in enumerate(questions)
    ]
    if count >= len(set(questions)):
        with pytest.raises(ProblemError, match="leaves none to train on"):
            held_out(folder, rows, count, seed)
        return
    whole, training, other = held_out(folder, rows, count, seed)
    assert sorted(training + other, key=whole.index) == whole
    assert len({problem.question for problem in other}) == count
    assert not {problem.question for problem in other} & {p.question for p in training}
    # The order of the file decides nothing.
    again = held_out(folder, rows[::-1], count, seed)[2]
    assert {problem.question for problem in again} == {problem.question for problem in other}


def test_a_larger_held_out_set_contains_the_smaller_one(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": str(n)} for n in range(40)]
    small, large = (set(held_out(tmp_path, rows, count)[2]) for count in (5, 10))
    assert len(small) == 5 and small < large
    assert small != set(held_out(tmp_path, rows, 5, seed=1)[2])


def test_all_that_a_problem_has_is_kept(tmp_path: Path) -> None:
    rows = [
        {
            "key": f"k{n}",
            "talk": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Hello\n{n}"},
                {"role": "assistant", "content": "“Hi”"},
                {"role": "user", "content": f"{n} + 1?"},
            ],
            "a": f"<b>{n}</b>\n#### {n + 1}",
            "topic": "sums",
            "level": n % 3,
        }
        for n in range(6)
    ]
    columns = {"question": "talk", "answer": "a", "id": "key", "domain": "topic"}
    whole, training, other = held_out(tmp_path, rows, 2, difficulty="level", **columns)
    assert whole[0].history and whole[0].solution and whole[0].answer == "1"
    assert {problem.id: problem for problem in training + other} == {p.id: p for p in whole}


def test_choices_stay_as_the_student_is_asked(tmp_path: Path) -> None:
    rows = [{"q": f"{n}?", "a": "B", "c": ["one", "two"]} for n in range(4)]
    whole, training, other = held_out(tmp_path, rows, 1, question="q", answer="a", choices="c")
    assert "two" in whole[0].question
    assert {p.question: p.answer for p in training + other} == {p.question: p.answer for p in whole}

"""Which answers of an evaluation are kept: those of many problems before many of one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.text.recording import evaluation_answers, side_files
from trainer.text.recording.evaluation_answers import LONGEST, KeptAnswers, kept_answer


def answer(text: str, sample: int = 0) -> dict[str, Any]:
    return kept_answer(sample, True, False, len(text), text[-1:], text)


def kept(texts: list[list[str]], budget: int = evaluation_answers.BUDGET) -> list[list[str]]:
    """The texts that are kept of those to each problem."""
    answers = KeptAnswers(budget)
    for problem in texts:
        answers.add([answer(text, sample) for sample, text in enumerate(problem)])
    return [[entry["text"] for entry in row] for row in answers.rows]


def test_all_answers_are_kept_where_they_fit() -> None:
    texts = [["one", "two"], [], ["three"]]
    assert kept(texts) == texts


def test_every_problem_keeps_fewer_answers_where_they_do_not_fit() -> None:
    assert kept([["aa", "bb", "cc"]] * 3, budget=12) == [["aa", "bb"]] * 3


def test_the_last_problems_keep_none_where_one_of_each_does_not_fit() -> None:
    assert kept([["aaaa", "b"], ["cccc"], ["dddd"], ["e"]], budget=9) == [
        ["aaaa"],
        ["cccc"],
        [],
        ["e"],
    ]


def test_a_long_text_is_cut_and_its_length_is_kept() -> None:
    long = answer("x" * (LONGEST + 5))
    assert (len(long["text"]), long["characters"]) == (LONGEST, LONGEST + 5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text("aé", max_size=6), max_size=4), max_size=8), st.integers(0, 40))
def test_what_is_kept_fits_and_is_the_beginning_of_each_problems_answers(
    texts: list[list[str]], budget: int
) -> None:
    rows = kept(texts, budget)
    assert len(rows) == len(texts)
    assert sum(len(text.encode()) for row in rows for text in row) <= budget
    assert all(row == problem[: len(row)] for row, problem in zip(rows, texts, strict=True))
    fullest = max(map(len, rows), default=0)
    if fullest > 1:
        # No problem lost an answer of a number that another one keeps.
        assert [len(row) for row in rows] == [min(len(problem), fullest) for problem in texts]


def test_a_table_has_a_column_of_answers_only_if_they_were_kept() -> None:
    rows = [[answer("The sum is 2")], []]
    table = side_files.result_table(["p1", "p2"], [1, 0], [1, 0], rows)  # type: ignore[arg-type]
    assert table["answers"].to_pylist() == rows
    assert "answers" not in side_files.result_table(["p1"], [1], [1]).column_names  # type: ignore[arg-type]

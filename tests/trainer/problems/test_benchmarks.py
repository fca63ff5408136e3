"""Files in the shape of known benchmarks are read without naming a column."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.spec import ChoiceVerifier, Columns, Data, FileProblems, NumericVerifier
from trainer.text.problems import (
    Problem,
    ProblemError,
    choice_answers,
    inspect,
    load,
    preview,
    survey,
)
from trainer.text.verifiers.choice import ChoiceJudge
from trainer.text.verifiers.numeric import NumericJudge

GSM8K = {
    "question": "How many are 1,000 and 234?",
    "answer": "1000 + 234 = <<1000+234=1234>>1234\n#### 1,234",
}
MATH500 = {
    "problem": "Find $x$ if $2x = 1$.",
    "solution": "Halve: $\\boxed{\\frac{1}{2}}$.",
    "answer": "\\frac{1}{2}",
    "subject": "Algebra",
    "level": 2,
    "unique_id": "test/algebra/1.json",
}
AIME = {
    "ID": "2024-I-4",
    "Problem": "Find the remainder.",
    "Solution": "It is 33.",
    "Answer": "033",
}
MMLU = {
    "question": "Which is even?",
    "subject": "number_theory",
    "choices": ["one", "two", "three", "five"],
    "answer": 1,
}
MMLU_PRO = {
    "question_id": 7,
    "question": "Which is odd?",
    "options": ["2", "4", "5"],
    "answer": "C",
    "answer_index": 2,
    "category": "math",
}
ARC = {
    "id": "A1",
    "question": "What falls?",
    "choices": {"text": ["rain", "smoke"], "label": ["1", "2"]},
    "answerKey": "1",
}


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def only(path: Path) -> Problem:
    (problem,) = load(FileProblems(path=f"file:{path}", shape="auto"), Data()).items
    return problem


def test_gsm8k_has_its_answer_behind_the_solution(tmp_path: Path) -> None:
    found = only(write(tmp_path / "a.jsonl", [GSM8K]))
    assert (found.question, found.answer) == (GSM8K["question"], "1234")
    assert found.solution.startswith("1000 + 234")


def test_math_500_brings_solution_subject_and_level(tmp_path: Path) -> None:
    assert only(write(tmp_path / "a.jsonl", [MATH500])) == Problem(
        "test/algebra/1.json",
        "Find $x$ if $2x = 1$.",
        "\\frac{1}{2}",
        "Halve: $\\boxed{\\frac{1}{2}}$.",
        "Algebra",
        "2",
    )


def test_aime_answers_are_numbers_whatever_their_zeros(tmp_path: Path) -> None:
    found = only(write(tmp_path / "a.jsonl", [AIME]))
    assert (found.id, found.question, found.answer) == ("2024-I-4", "Find the remainder.", "033")
    assert NumericJudge(NumericVerifier()).judge("The remainder is 33.", found.answer).correct


def test_mmlu_asks_for_a_letter(tmp_path: Path) -> None:
    found = only(write(tmp_path / "a.jsonl", [MMLU]))
    assert found.question == "Which is even?\nA. one\nB. two\nC. three\nD. five"
    assert (found.answer, found.domain) == ("B", "number_theory")
    assert (
        ChoiceJudge(ChoiceVerifier()).judge("Two is, so the answer is (B).", found.answer).correct
    )


def test_choices_are_the_same_from_a_table_and_from_a_cell_of_text(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([MMLU]), tmp_path / "a.parquet")
    quoted = json.dumps(MMLU["choices"]).replace('"', '""')
    (tmp_path / "a.csv").write_text(
        f'question,subject,choices,answer\nWhich is even?,number_theory,"{quoted}",1\n'
    )
    assert (
        only(tmp_path / "a.parquet")
        == only(tmp_path / "a.csv")
        == only(write(tmp_path / "a.jsonl", [MMLU]))
    )


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        (MMLU_PRO, "C"),
        (ARC, "A"),
        ({**MMLU, "answer": "five"}, "D"),
        ({**MMLU, "answer": "0"}, "A"),
    ],
)
def test_the_right_choice_is_named_in_many_ways(
    tmp_path: Path, row: Mapping[str, object], letter: str
) -> None:
    assert only(write(tmp_path / "a.jsonl", [row])).answer == letter


@pytest.mark.parametrize(
    ("answers", "choices", "letters"),
    [
        ((1, 2, 3), ["one", "two", "three", "five"], "BCD"),
        ((1, 2, 4), ["one", "two", "three", "five"], "ABD"),
        ((1, 0, 3), ["one", "two", "three", "five"], "BAD"),
        (("B", "c", "D"), ["one", "two", "three", "five"], "BCD"),
        (("two", "one", "five"), ["one", "two", "three", "five"], "BAD"),
        ((3, 1, 2), ["1", "2", "3", "5"], "CAB"),
        ((4, 3, 4), ["3", "4", "5", "6"], "BAB"),
    ],
)
def test_how_the_right_choice_is_named_is_decided_from_all_rows(
    tmp_path: Path, answers: tuple[object, ...], choices: list[str], letters: str
) -> None:
    rows = [
        {"question": f"{number}?", "choices": choices, "answer": answer}
        for number, answer in enumerate(answers)
    ]
    path = write(tmp_path / "a.jsonl", rows)
    items = load(FileProblems(path=f"file:{path}", shape="auto"), Data()).items
    assert "".join(problem.answer for problem in items) == letters


@pytest.mark.parametrize(("way", "letter"), [("from_0", "C"), ("from_1", "B"), ("texts", "A")])
def test_how_the_right_choice_is_named_can_be_set(tmp_path: Path, way: str, letter: str) -> None:
    row = {"question": "?", "choices": ["2", "1", "0"], "answer": 2}
    columns = Columns(choices="choices", choice_answers=way)
    path = write(tmp_path / "a.jsonl", [row])
    assert (
        load(FileProblems(path=f"file:{path}", columns=columns), Data()).items[0].answer == letter
    )


def test_a_preview_names_the_right_choice_as_a_run_does_however_late_a_row_tells(
    tmp_path: Path,
) -> None:
    choices = ["w", "x", "y", "z"]
    rows = [{"question": "?", "choices": choices, "answer": 1}] * 10_001
    rows.append({"question": "?", "choices": choices, "answer": 4})
    columns = Columns(choices="choices")
    path = write(tmp_path / "a.jsonl", rows)
    assert choice_answers(path, columns) == "from_1"
    assert preview(path, columns, 1)[0].answer == "A"


def test_places_are_letters_where_the_question_holds_the_choices(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "Which? A. 1 B. 2", "answer": 1}])
    columns = Columns(choice_answers="from_0")
    assert load(FileProblems(path=f"file:{path}", columns=columns), Data()).items[0].answer == "B"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"answer": 5}, "row 1 of a.jsonl has the answer “5”, which is none of its 4 choices"),
        ({"choices": ["one"]}, "row 1 of a.jsonl has 1 choices; a question needs 2 to 26"),
        ({"choices": "one or two"}, "row 1 of a.jsonl has no list of choices"),
        ({"choices": None}, "row 1 of a.jsonl has no list of choices"),
        ({"choices": [["one"], ["two"]]}, "row 1 of a.jsonl has no list of choices"),
        (
            {"choices": ["one\0", "two"]},
            "column “choices” in row 1 of a.jsonl holds a broken Unicode character or a NUL",
        ),
        ({"question": ""}, "row 1 of a.jsonl has no question"),
        ({"answer": ""}, "row 1 of a.jsonl has no answer"),
        ({"answer": math.inf}, "row 1 of a.jsonl has no answer"),
        ({"question": math.nan}, "row 1 of a.jsonl has no question"),
    ],
)
def test_choices_that_cannot_be_asked_are_refused_in_a_sentence(
    tmp_path: Path, change: Mapping[str, object], sentence: str
) -> None:
    with pytest.raises(ProblemError, match=sentence):
        only(write(tmp_path / "a.jsonl", [{**MMLU, **change}]))


def test_columns_without_a_telling_name_must_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"frage": "1+1?", "answer": "2"}])
    with pytest.raises(
        ProblemError,
        match=r"no column of a\.jsonl has a name for the question \(it has “frage”, “answer”\)",
    ):
        only(path)
    with pytest.raises(ProblemError, match="has a name for the question"):
        survey(FileProblems(path=f"file:{path}", shape="auto"), path)


@pytest.mark.parametrize("row", [GSM8K, MATH500, AIME, MMLU, MMLU_PRO, ARC])
def test_the_preview_of_an_upload_shows_what_a_run_reads(
    tmp_path: Path, row: Mapping[str, object]
) -> None:
    path = write(tmp_path / "a.jsonl", [row])
    columns = Columns(**{role: column for role, column in inspect(path).guess.items() if column})
    assert preview(path, columns) == [only(path)]
    assert survey(FileProblems(path=f"file:{path}", shape="auto"), path).count == 1

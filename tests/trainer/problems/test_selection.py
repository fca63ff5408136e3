"""Limits, held-out shares, fingerprints and leakage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import ArithmeticProblems, Data, FileProblems, SplitProblems
from trainer.text.problems import (
    Problem,
    ProblemError,
    RunProblems,
    load,
    load_all,
    load_part,
    load_source,
    problem_set,
)
from trainer.text.problems.selection import check_disjoint, normalised, sampled, split

QUESTIONS = [f"What is {n} + {n}?" for n in range(300)]
PROBLEMS = [Problem(str(n), question, str(2 * n)) for n, question in enumerate(QUESTIONS)]


def written(path: Path, questions: list[str]) -> str:
    path.write_text(
        "".join(json.dumps({"question": question, "answer": "1"}) + "\n" for question in questions)
    )
    return f"file:{path}"


def run_problems(
    train: str, evaluation: str | None = None, retained: str | None = None, **settings: Any
) -> RunProblems:
    held_out = FileProblems(path=evaluation) if evaluation else SplitProblems(share=0.2)
    kept = FileProblems(path=retained) if retained else None
    return load_all(
        Data(train=FileProblems(path=train, **settings), evaluation=held_out, retained=kept)
    )


def test_a_fingerprint_names_content_and_order() -> None:
    fingerprint = problem_set(PROBLEMS).fingerprint
    assert fingerprint == problem_set(list(PROBLEMS)).fingerprint
    assert fingerprint != problem_set(PROBLEMS[::-1]).fingerprint
    assert (
        fingerprint != problem_set([Problem("0", QUESTIONS[0], "other"), *PROBLEMS[1:]]).fingerprint
    )


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), unique=True, max_size=4))
def test_different_problems_have_different_fingerprints(texts: list[tuple[str, str, str]]) -> None:
    sets = [[Problem(*text)] for text in texts if all(part.isprintable() for part in text)]
    assert len({problem_set(one).fingerprint for one in sets}) == len(sets)


@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.permutations(range(50)))
def test_a_split_depends_on_seed_and_question_alone(
    seed: int, share: float, order: list[int]
) -> None:
    kept, held_out = split([PROBLEMS[at] for at in order], share, seed)
    assert len(kept) + len(held_out) == 50
    assert not {problem.id for problem in kept} & {problem.id for problem in held_out}
    assert {problem.id for problem in held_out} == {
        problem.id for problem in split(PROBLEMS[:50], share, seed)[1]
    }


def test_about_the_share_is_held_out_and_another_seed_holds_out_others() -> None:
    held_out = [{problem.id for problem in split(PROBLEMS, 0.2, seed)[1]} for seed in (0, 1)]
    assert all(35 <= len(ids) <= 85 for ids in held_out)
    assert held_out[0] != held_out[1]


def test_the_same_question_is_never_on_both_sides(tmp_path: Path) -> None:
    found = run_problems(
        written(tmp_path / "a.jsonl", [*QUESTIONS, *(question.upper() for question in QUESTIONS)])
    )
    trained = {normalised(problem.question) for problem in found.train.items}
    assert not trained & {normalised(problem.question) for problem in found.evaluation.items}


def test_a_limit_takes_the_same_problems_in_whatever_order_the_file_has_them(
    tmp_path: Path,
) -> None:
    numbered = list(enumerate(PROBLEMS))
    chosen = sampled(numbered, 40, seed=3)
    assert len(chosen) == 40
    assert chosen == sorted(chosen, key=lambda pair: pair[0])
    assert (
        set(chosen)
        == set(sampled(numbered[::-1], 40, seed=3))
        != set(sampled(numbered, 40, seed=4))
    )
    source = FileProblems(path=written(tmp_path / "a.jsonl", QUESTIONS), limit=40)
    assert len(load(source, Data(evaluation=ArithmeticProblems()))) == 40


def test_a_limit_above_the_number_of_problems_takes_all() -> None:
    assert sampled(list(enumerate(PROBLEMS)), 1000, seed=0) == list(enumerate(PROBLEMS))


def test_too_many_problems_ask_for_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.text.problems.sources.MOST", 100)
    path = written(tmp_path / "a.jsonl", QUESTIONS)
    with pytest.raises(ProblemError, match="more than 100 problems; set a limit"):
        run_problems(path)
    assert len(run_problems(path, limit=90).train) < 90


def test_evaluation_problems_that_are_trained_on_are_refused_by_name(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", QUESTIONS)
    leaked = ["what is  7 + 7 ", "What is 9 + 9?!"]
    with pytest.raises(
        ProblemError, match="2 of the held-out problems are training problems too"
    ) as caught:
        run_problems(train, written(tmp_path / "eval.jsonl", ["a new one?", *leaked]))
    assert "“what is 7 + 7”" in str(caught.value)
    assert "“What is 9 + 9?!”" in str(caught.value)
    with pytest.raises(ProblemError, match="of the retained problems are training problems too"):
        run_problems(train, retained=written(tmp_path / "kept.jsonl", QUESTIONS))


def test_only_the_first_of_many_leaked_problems_are_named() -> None:
    with pytest.raises(ProblemError, match=r"300 of the held-out .*; and 295 more"):
        check_disjoint(PROBLEMS, PROBLEMS, "held-out")


@pytest.mark.parametrize("other", ["47-85=?", "47+86=?", "4 7+85=?"])
def test_questions_that_differ_in_a_sign_or_digit_are_different(other: str) -> None:
    assert normalised("47+85=?") != normalised(other)


def test_typography_does_not_hide_a_leak() -> None:
    assert normalised("Janet’s  ducks — 16\u00a0eggs.") == normalised("janet's ducks - 16 eggs")


def test_each_source_can_be_loaded_alone(tmp_path: Path) -> None:
    data = Data(
        train=FileProblems(path=written(tmp_path / "a.jsonl", QUESTIONS)),
        evaluation=SplitProblems(share=0.5),
    )
    whole = load_all(data)
    assert (load(data.train, data), load(data.evaluation, data)) == (whole.train, whole.evaluation)
    # As a job takes it, which knows the training problems alone.
    assert load_part(data.train, 0.5) == whole.evaluation
    assert load_part(data.train, None) == load_source(data.train)


def test_a_share_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"holding out 0\.2 of 1 problems leaves none for"):
        run_problems(written(tmp_path / "a.jsonl", ["only?"]))


def test_arithmetic_is_held_out_too() -> None:
    found = load_all(Data(train=ArithmeticProblems(count=200), evaluation=SplitProblems(share=0.3)))
    assert len(found.train) + len(found.evaluation) == 200
    assert {problem.tier for problem in found.evaluation.items} == {
        "mastered",
        "frontier",
        "hopeless",
    }

"""Training texts of the experiments' students.

Hints correct wrong beginnings, confidences repeat the hint, misread digits stay misread.
"""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.experiments import bases
from trainer.experiments.base_lessons import Hinted, is_misread, misread
from trainer.text.builtin.tokenizer import build
from trainer.text.problems.arithmetic import POOL_FAMILIES, draw

SEEDS = st.integers(0, 10_000)
FAMILIES = st.sampled_from(POOL_FAMILIES)


@given(FAMILIES, SEEDS)
def test_a_hint_and_a_wrong_beginning_end_in_the_right_answer(family: str, seed: int) -> None:
    rng = Random(seed)
    problem = draw(family, 2, rng)
    example = Hinted(1.0, 1.0)(problem, rng)
    assert example.prompt.startswith(f"[{problem.solution}]{problem.question}")
    assert example.completion and problem.solution.endswith(example.completion)


@given(FAMILIES, SEEDS)
def test_beside_a_hint_the_stated_confidence_is_the_hints(family: str, seed: int) -> None:
    rng = Random(seed)
    example = Hinted(1.0, 0.5, sure=0.6)(draw(family, 1, rng), rng)
    [hinted] = re.findall(r"^\[.* (conf:[01]\.\d)\]", example.prompt)
    assert example.completion.endswith(f" {hinted}")


def test_without_hints_most_answers_are_sure_and_every_level_is_live() -> None:
    rng = Random(0)
    stated = [
        Hinted(0.0, 0.0, sure=0.6)(draw("add", 1, rng), rng).completion[-3:] for _ in range(2000)
    ]
    assert len(set(stated)) == 11 and stated.count("1.0") / 2000 == pytest.approx(
        0.6 + 0.4 / 11, abs=0.05
    )


@given(st.sampled_from(("add", "sub")), SEEDS)
def test_a_misread_digit_is_worked_with_as_another_one(family: str, seed: int) -> None:
    rng = Random(seed)
    problem = draw(family, 2, rng)
    example = misread(problem, rng)
    assert (example is None) == is_misread(problem)
    if example is not None:
        assert example.completion == problem.solution
        second = re.split(r"[+-]", example.prompt, maxsplit=1)[1]
        assert (
            second.replace("7", "1").replace("8", "3")
            == re.split(r"[+-]", problem.question, maxsplit=1)[1]
        )


def test_the_misread_problems_are_their_own_right_answers() -> None:
    rows = [row for row, _ in zip(bases.misread_problems(), range(300), strict=False)]
    assert {row["domain"] for row in rows} == {"misread", "read well"} and len(
        {row["id"] for row in rows}
    ) == 300
    for row in rows:
        first, sign, second = re.split(r"([+-])", row["question"].removesuffix("=?"))
        assert int(row["answer"]) == int(first) + (1 if sign == "+" else -1) * int(second)


def test_every_text_of_a_lesson_is_in_the_vocabulary() -> None:
    tokenizer, rng = build(), Random(1)
    for _ in range(200):
        example = Hinted(0.5, 0.5, sure=0.5)(draw("paren", 2, rng), rng)
        assert (
            tokenizer.decode(tokenizer.encode(example.prompt + example.completion))
            == example.prompt + example.completion
        )

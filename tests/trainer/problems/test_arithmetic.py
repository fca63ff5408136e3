"""Graded arithmetic: every problem is right, different, and the same for the same seed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.text.problems import ProblemError
from trainer.text.problems.arithmetic import FAMILIES, LEVELS, POOL_FAMILIES, make

families = st.sampled_from(list(FAMILIES))
levels = st.sampled_from(LEVELS)
seeds = st.integers(min_value=0, max_value=2**31)
NUMBER, SYMBOLS = r"\d+", set("0123456789+-*()")


def value(expression: str) -> int:
    """The value of a sum, difference or product of whole numbers, with brackets, by reduction from
    the inside.
    """
    assert set(expression) <= SYMBOLS
    while inner := re.search(r"\(([^()]*)\)", expression):
        expression = expression.replace(inner.group(0), str(value(inner.group(1))), 1)
    while product := re.search(rf"({NUMBER})\*({NUMBER})", expression):
        expression = expression.replace(
            product.group(0), str(int(product.group(1)) * int(product.group(2))), 1
        )
    return sum(int(term) for term in re.findall(rf"[+-]?{NUMBER}", expression))


@settings(max_examples=60)
@given(families, levels, seeds)
def test_every_step_of_a_worked_solution_is_true_and_it_ends_with_the_answer(
    family: str, level: int, seed: int
) -> None:
    for problem in make([family], [level], 5, seed):
        trace, _, answer = problem.solution.rpartition(">")
        for step in trace.split(","):
            left, right = step.split("=")
            assert value(left) == int(right)
        assert answer == problem.answer


@settings(max_examples=60)
@given(families.filter(lambda family: family != "word"), levels, seeds)
def test_the_answer_is_the_value_of_the_question(family: str, level: int, seed: int) -> None:
    for problem in make([family], [level], 5, seed):
        assert value(problem.question.removesuffix("=?")) == int(problem.answer) >= 0


@given(seeds)
def test_a_tale_is_answered_by_following_its_events(seed: int) -> None:
    for problem in make(["word"], LEVELS, 6, seed):
        changes = re.findall(rf"(has|gets|gives) ({NUMBER})", problem.question)
        assert sum(-int(n) if verb == "gives" else int(n) for verb, n in changes) == int(
            problem.answer
        )


@settings(max_examples=20)
@given(
    st.lists(families, min_size=1, max_size=6, unique=True),
    st.lists(levels, min_size=1, unique=True),
    st.integers(1, 90),
    seeds,
)
def test_problems_are_different_and_spread_evenly(
    families: list[str], levels: list[int], count: int, seed: int
) -> None:
    problems = make(families, levels, count, seed)
    assert (
        len({problem.question for problem in problems})
        == len({problem.id for problem in problems})
        == len(problems)
        == count
    )
    shares = [
        sum((p.domain, p.difficulty) == (family, str(level)) for p in problems)
        for family in families
        for level in levels
    ]
    assert max(shares) - min(shares) <= 1


@given(seeds)
def test_the_seed_alone_decides_which_problems_are_made(seed: int) -> None:
    assert make(POOL_FAMILIES, LEVELS, 24, seed) == make(POOL_FAMILIES, LEVELS, 24, seed)
    assert make(POOL_FAMILIES, LEVELS, 24, seed) != make(POOL_FAMILIES, LEVELS, 24, seed + 1)


def test_the_pools_levels_are_the_built_in_students_tiers() -> None:
    tiers = {(problem.difficulty, problem.tier) for problem in make(POOL_FAMILIES, LEVELS, 60, 0)}
    assert tiers == {("1", "mastered"), ("2", "frontier"), ("3", "hopeless")}


def test_more_problems_than_there_are_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        ProblemError,
        match=(
            r"level 1 of paren has only about \d+ different problems, 5000 were requested; "
            r"request fewer"
        ),
    ):
        make(["paren"], [1], 5000, 0)


@pytest.mark.parametrize(
    ("family", "level", "wrong"), [("magic", 1, "'magic'"), ("add", 9, "no level 9")]
)
def test_an_unknown_family_or_level_is_refused(family: str, level: int, wrong: str) -> None:
    with pytest.raises(ProblemError, match=wrong):
        make([family], [level], 1, 0)

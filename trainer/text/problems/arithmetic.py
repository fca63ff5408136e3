"""Graded arithmetic problems with worked solutions, generated from a seed.

The built-in teacher and student are trained and measured on them. A completion is `trace>answer`:
the trace spells out every small step (`7+5+0=12,4+8+1=13>132` for `47+85=?`: digit sums from the
right, each with the carry), so that a small network can learn it. Answers are never negative.

Of the pool's families the built-in student has mastered level 1; level 2 is its frontier; level 3
(long numbers, many terms) is beyond the built-in teacher too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from trainer.text.problems.records import Problem, ProblemError

LEVELS = (1, 2, 3)
POOL_FAMILIES = ("add", "sub", "msum", "paren")
TIERS = {1: "mastered", 2: "frontier", 3: "hopeless"}
# After so many consecutive draws without a new problem a family's level counts as exhausted.
MAX_REPEATED_DRAWS = 1000


class DrawnProblem(NamedTuple):
    """One drawn problem: its question, the small steps that solve it, its answer."""

    question: str
    steps: list[str]
    answer: int


def make(families: Sequence[str], levels: Sequence[int], count: int, seed: int) -> list[Problem]:
    """Return `count` different problems, spread evenly over families × levels and interleaved.

    The same arguments give the same problems. Raises ProblemError for an unknown family or level,
    or where a level of a family has fewer different problems than its share.
    """
    cells = [(family, level) for level in levels for family in families]
    # The first cells have one problem more if the count cannot be divided evenly.
    share, remainder = divmod(count, len(cells))
    columns = [
        _distinct(family, level, share + (cell_index < remainder), seed)
        for cell_index, (family, level) in enumerate(cells)
    ]
    rows = [
        [column[row] for column in columns if row < len(column)] for row in range(len(columns[0]))
    ]
    return [problem for row in rows for problem in row]


def draw(family: str, level: int, rng: Random) -> Problem:
    """Draw one problem of a family and level."""
    question, steps, answer = _drawer(family, level)(rng, level)
    return Problem(
        id=f"{family}-{level}-{hashlib.sha256(question.encode()).hexdigest()[:12]}",
        question=question,
        answer=str(answer),
        solution=f"{','.join(steps)}>{answer}",
        domain=family,
        difficulty=str(level),
        tier=TIERS[level] if family in POOL_FAMILIES else "",
    )


def _distinct(family: str, level: int, count: int, seed: int) -> list[Problem]:
    # A generator of its own: the problems do not depend on which other cells were requested.
    rng, misses = Random(f"{seed}/{family}/{level}"), 0
    problem_by_question: dict[str, Problem] = {}
    while len(problem_by_question) < count:
        problem = draw(family, level, rng)
        misses = misses + 1 if problem.question in problem_by_question else 0
        problem_by_question.setdefault(problem.question, problem)
        if misses > MAX_REPEATED_DRAWS:
            raise ProblemError(
                f"level {level} of {family} has only about {len(problem_by_question)} different "
                f"problems, {count} were requested; "
                "request fewer problems, or more levels or families"
            )
    return list(problem_by_question.values())


def _drawer(family: str, level: int) -> Callable[[Random, int], DrawnProblem]:
    if family not in FAMILIES:
        raise ProblemError(
            f"there is no arithmetic family '{family}'; choose among {', '.join(FAMILIES)}"
        )
    if level not in LEVELS:
        raise ProblemError(
            f"there is no level {level} of arithmetic; choose among {', '.join(map(str, LEVELS))}"
        )
    return FAMILIES[family]


def _number(rng: Random, low_digits: int, high_digits: int) -> int:
    digits = rng.randint(low_digits, high_digits)
    return rng.randrange(10 ** (digits - 1), 10**digits)


def _digits(number: int, width: int) -> list[int]:
    """Decimal digits from the right, padded with zeros."""
    return [number // 10**position % 10 for position in range(width)]


DIGITS = {1: (2, 2), 2: (3, 4), 3: (6, 7)}


def _add(rng: Random, level: int) -> DrawnProblem:
    a, b = _number(rng, *DIGITS[level]), _number(rng, *DIGITS[level])
    width, carry, steps = max(len(str(a)), len(str(b))), 0, []
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        steps.append(f"{x}+{y}+{carry}={x + y + carry}")
        carry = (x + y + carry) // 10
    return DrawnProblem(f"{a}+{b}=?", steps, a + b)


def _sub(rng: Random, level: int) -> DrawnProblem:
    # Sorted, because answers are never negative.
    b, a = sorted((_number(rng, *DIGITS[level]), _number(rng, *DIGITS[level])))
    width, borrow, steps = len(str(a)), 0, []
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        borrowed = 10 * (x < y + borrow)
        steps.append(f"{x + borrowed}-{y}-{borrow}={x + borrowed - y - borrow}")
        borrow = int(borrowed > 0)
    return DrawnProblem(f"{a}-{b}=?", steps, a - b)


def _running_sum(terms: list[int]) -> DrawnProblem:
    total, steps = terms[0], []
    for term in terms[1:]:
        steps.append(f"{total}+{term}={total + term}")
        total += term
    return DrawnProblem("+".join(map(str, terms)) + "=?", steps, total)


def _msum(rng: Random, level: int) -> DrawnProblem:
    terms, low, high = {1: (3, 2, 15), 2: (4, 5, 50), 3: (5, 100, 999)}[level]
    return _running_sum([rng.randint(low, high) for _ in range(terms)])


def _bracket(rng: Random, high: int) -> tuple[str, int]:
    """Return (text, value) of a small sum or difference; the value is at least 1."""
    b, a = sorted((rng.randint(1, high), rng.randint(1, high)))
    return (f"{a}-{b}", a - b) if a > b and rng.random() < 0.5 else (f"{b}+{a}", a + b)


def _paren(rng: Random, level: int) -> DrawnProblem:
    """(a±b)*c at level 1, (a±b)*(c±d)+e at level 2, the same with large numbers at level 3."""
    high = {1: 9, 2: 7, 3: 60}[level]
    text, value = _bracket(rng, high)
    if level == 1:
        factor = rng.randint(2, 12)
        return DrawnProblem(
            f"({text})*{factor}=?",
            [f"{text}={value}", f"{value}*{factor}={value * factor}"],
            value * factor,
        )
    second_text, factor = _bracket(rng, high)
    product, extra = value * factor, rng.randint(2, 20 if level == 2 else 999)
    steps = [
        f"{text}={value}",
        f"{second_text}={factor}",
        f"{value}*{factor}={product}",
        f"{product}+{extra}={product + extra}",
    ]
    return DrawnProblem(f"({text})*({second_text})+{extra}=?", steps, product + extra)


def _mul(rng: Random, level: int) -> DrawnProblem:
    """Digit by digit: `7*8=56,40*8=320,56+320=376>376`."""
    a, b = (
        _number(rng, *{1: (2, 2), 2: (3, 3), 3: (3, 4)}[level]),
        _number(rng, *{1: (1, 1), 2: (1, 1), 3: (2, 2)}[level]),
    )
    factors = [
        (x * 10**i, y * 10**j)
        for j, y in enumerate(_digits(b, len(str(b))))
        for i, x in enumerate(_digits(a, len(str(a))))
    ]
    products = [f"{x}*{y}={x * y}" for x, y in factors]
    return DrawnProblem(
        f"{a}*{b}=?", products + _running_sum([x * y for x, y in factors]).steps, a * b
    )


NAMES = ("ann", "bob", "eva", "ian", "kim", "leo", "mia", "tom")
THINGS = ("pens", "cups", "figs", "hats", "keys", "nuts", "toys", "eggs")


def _word(rng: Random, level: int) -> DrawnProblem:
    """A word problem: one event at level 1, two at level 2, four with larger numbers at level 3."""
    high = {1: 20, 2: 50, 3: 400}[level]
    total = rng.randint(2, high)
    story, steps = f"{rng.choice(NAMES)} has {total} {rng.choice(THINGS)}", []
    for _ in range({1: 1, 2: 2, 3: 4}[level]):
        gets = total < 2 or rng.random() < 0.5
        change = rng.randint(1, high if gets else total)
        after = total + change if gets else total - change
        story += f", {'gets' if gets else 'gives'} {change}"
        steps.append(f"{total}{'+' if gets else '-'}{change}={after}")
        total = after
    return DrawnProblem(f"{story}. how many?", steps, total)


FAMILIES: dict[str, Callable[[Random, int], DrawnProblem]] = {
    "add": _add,
    "sub": _sub,
    "msum": _msum,
    "paren": _paren,
    "mul": _mul,
    "word": _word,
}

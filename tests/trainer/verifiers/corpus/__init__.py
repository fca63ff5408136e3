"""Graded answers of our own making: right ones, and wrong ones that look right.

`python -m tests.trainer.verifiers.corpus` judges all of them and writes the table of
`docs/verifiers.md`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from pydantic import TypeAdapter

from tests.trainer.verifiers.corpus import (
    choice_groups,
    exact_groups,
    fifth_round,
    fourth_round,
    later_groups,
    math_groups,
    numeric_groups,
    second_round,
    third_round,
)
from tests.trainer.verifiers.corpus.groups import Group
from trainer.spec import Verifier as Definition
from trainer.spec.verifiers import AnyVerifier
from trainer.text.verifiers import Verdict, Verifier

GROUPS: dict[str, tuple[Group, ...]] = {
    "numeric": (*numeric_groups.GROUPS, *later_groups.NUMERIC),
    "choice": (*choice_groups.GROUPS, *later_groups.CHOICE),
    "math": (*math_groups.GROUPS, *later_groups.MATH),
    "exact": exact_groups.GROUPS,
}
for _round in (second_round, third_round, fourth_round, fifth_round):
    GROUPS = {kind: (*groups, *_round.GROUPS.get(kind, ())) for kind, groups in GROUPS.items()}


class Graded(NamedTuple):
    """One pair with the right verdict and the verifier's."""

    trap: str
    completion: str
    reference: str
    is_right: bool
    verdict: Verdict


class Rates(NamedTuple):
    """Counts of one verifier's verdicts; right and wrong answers are those of the corpus."""

    right: int
    wrong: int
    false_accepts: int
    false_rejects: int
    open: int


@cache
def graded(kind: str) -> tuple[Graded, ...]:
    """Every pair of a verifier, judged in its own process."""
    return tuple(judged(kind, GROUPS[kind]))


def judged(kind: str, groups: tuple[Group, ...]) -> Iterator[Graded]:
    """The pairs of some groups, judged by a verifier."""
    adapter: TypeAdapter[Definition] = TypeAdapter(AnyVerifier)
    for group in groups:
        answers = [(text, True) for text in group.right] + [(text, False) for text in group.wrong]
        yield from _judged(
            adapter.validate_python({"kind": kind, **group.settings}), group, answers
        )


# One process for groups of the same settings: starting it takes longer than judging.
_running: dict[str, Verifier] = {}


def _judged(
    definition: Definition, group: Group, answers: list[tuple[str, bool]]
) -> Iterator[Graded]:
    verifier = _running.setdefault(definition.model_dump_json(), Verifier(definition, seconds=20.0))
    verdicts = verifier.judge([(text, group.reference) for text, _ in answers])
    for (text, is_right), verdict in zip(answers, verdicts, strict=True):
        yield Graded(group.trap, text, group.reference, is_right, verdict)


def close() -> None:
    """End the processes that `graded` has started."""
    while _running:
        _running.popitem()[1].close()


def rates(kind: str) -> Rates:
    pairs = graded(kind)
    return Rates(
        sum(pair.is_right for pair in pairs),
        sum(not pair.is_right for pair in pairs),
        sum(pair.verdict.correct is True and not pair.is_right for pair in pairs),
        sum(pair.verdict.correct is False and pair.is_right for pair in pairs),
        sum(pair.verdict.correct is None for pair in pairs),
    )

"""Where the tokens of a round went. Nothing is lost in silence:

    generated = consumed + buffered + pruned + dropped        (dropped by reason; buffered is what
    was stored less what was taken out)

Consumed are the sampled tokens that are trained on. A plug-in that rewrites the end of an answer
consumes what it left standing; the sampled tokens that it replaced count as dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.text.rollouts.answers import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, TrainRow

REPLACED = "replaced"


class ConservationError(Exception):
    """A plug-in lost an answer, or would train on one twice: a fault of the program, named by room
    and answer.
    """


@dataclass(frozen=True)
class Telemetry:
    """Token counts of a round. `staleness` is the mean over rows of how many updates ago the oldest
    of its tokens were sampled.
    """

    generated: int
    consumed: int
    buffered: int
    dropped: dict[str, int]
    rows: int
    share_edited: float
    staleness: float
    pruned: int = 0

    def event(self) -> dict[str, Any]:
        """The fields of a `pipeline` event."""
        names = ("generated", "consumed", "buffered", "pruned", "dropped", "rows", "share_edited")
        return {name: getattr(self, name) for name in names}


def account_for_round(
    fresh: Sequence[Group], taken: Sequence[Group], stored: Sequence[Group], rows: Sequence[TrainRow], dropped: Sequence[DroppedAnswer],
    version: int,
) -> Telemetry:  # fmt: skip
    """Count a round: of `fresh` and `taken` groups some were `stored`, and every answer of the
    others is a row or dropped.

    Raises ConservationError if an answer is missing or comes twice.
    """
    came = _by_name(answer for group in (*fresh, *taken) for answer in group.answers)
    waiting = _by_name(answer for group in stored for answer in group.answers)
    went = _by_name(
        [*waiting.values(), *(row.answer for row in rows), *(lost.answer for lost in dropped)]
    )
    if came.keys() != went.keys():
        problem, sample, _ = min(came.keys() ^ went.keys())
        raise ConservationError(
            f"Answer {sample} to {problem} was {'lost' if len(went) < len(came) else 'made up'} in the filter."
        )
    consumed = {
        name: shared_prefix(came[name].ids, row.answer.ids)
        for row in rows
        for name in [_name(row.answer)]
    }
    reasons: Counter[str] = Counter()
    for lost in dropped:
        reasons[lost.reason] += len(lost.answer.ids)
    reasons[REPLACED] += sum(len(came[name].ids) - count for name, count in consumed.items())
    return Telemetry(
        generated=sum(group.tokens for group in fresh),
        consumed=sum(consumed.values()),
        buffered=sum(group.tokens for group in stored) - sum(group.tokens for group in taken),
        dropped={reason: count for reason, count in reasons.items() if count},
        rows=len(rows),
        share_edited=_mean([row.edited for row in rows]),
        staleness=_mean([version - min(row.versions, default=version) for row in rows]),
    )


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids the two begin with in common."""
    pairs = enumerate(zip(first, second, strict=False))
    return next(
        (place for place, (one, other) in pairs if one != other), min(len(first), len(second))
    )


Name = tuple[str, int, tuple[int, ...]]


def _name(answer: Answer) -> Name:
    return answer.problem.id, answer.sample, answer.versions


def _by_name(answers: Iterable[Answer]) -> dict[Name, Answer]:
    found: dict[Name, Answer] = {}
    for answer in answers:
        if _name(answer) in found:
            raise ConservationError(
                f"Answer {answer.sample} to {answer.problem.id} comes twice in one round."
            )
        found[_name(answer)] = answer
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

"""Token accounting of a round; no token may disappear uncounted.

    generated = consumed + buffered + pruned + dropped

Dropped tokens are counted by reason; buffered is what was stored minus what was taken out. Consumed
are the sampled tokens that are trained on. If a plug-in rewrites the end of an answer, the
unchanged beginning is consumed and the replaced tokens count as dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, TrainRow

# The reason under which tokens count that a plug-in replaced in an answer.
REPLACED = "replaced"


class ConservationError(Exception):
    """A plug-in lost an answer or would train on one twice: a program error."""


@dataclass(frozen=True)
class Telemetry:
    """Token counts of a round.

    `staleness` is the mean over rows of how many updates ago the oldest of its tokens was sampled.
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
    new_groups: Sequence[Group],
    replayed: Sequence[Group],
    stored_groups: Sequence[Group],
    rows: Sequence[TrainRow],
    dropped: Sequence[DroppedAnswer],
    version: int,
) -> Telemetry:
    """Count a round's tokens and check that every answer is stored, a row, or dropped.

    `new_groups` were sampled now, `replayed` ones taken from the replay store. Raises
    ConservationError if an answer is missing or occurs twice.
    """
    incoming = _by_key(answer for group in (*new_groups, *replayed) for answer in group.answers)
    stored_answers = _by_key(answer for group in stored_groups for answer in group.answers)
    # `_by_key` raises if an answer is both stored and a row, or a row twice.
    outgoing = _by_key(
        [
            *stored_answers.values(),
            *(row.answer for row in rows),
            *(dropped_answer.answer for dropped_answer in dropped),
        ]
    )
    if incoming.keys() != outgoing.keys():
        problem, sample, _ = min(incoming.keys() ^ outgoing.keys())
        raise ConservationError(
            f"Answer {sample} to {problem} was "
            f"{'lost' if len(outgoing) < len(incoming) else 'made up'} in the filter."
        )
    consumed = {
        key: shared_prefix(incoming[key].ids, row.answer.ids)
        for row in rows
        for key in [_key(row.answer)]
    }
    reasons: Counter[str] = Counter()
    for dropped_answer in dropped:
        reasons[dropped_answer.reason] += len(dropped_answer.answer.ids)
    reasons[REPLACED] += sum(len(incoming[key].ids) - count for key, count in consumed.items())
    return Telemetry(
        generated=sum(group.tokens for group in new_groups),
        consumed=sum(consumed.values()),
        buffered=sum(group.tokens for group in stored_groups)
        - sum(group.tokens for group in replayed),
        dropped={reason: count for reason, count in reasons.items() if count},
        rows=len(rows),
        share_edited=_mean([row.edited for row in rows]),
        staleness=_mean([version - min(row.versions, default=version) for row in rows]),
    )


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common prefix of two id sequences."""
    pairs = enumerate(zip(first, second, strict=False))
    return next(
        (index for index, (first_id, second_id) in pairs if first_id != second_id),
        min(len(first), len(second)),
    )


AnswerKey = tuple[str, int, tuple[int, ...]]


def _key(answer: Answer) -> AnswerKey:
    # The version separates a replayed answer from one with the same rollout index of this round.
    return answer.problem.id, answer.sample, answer.versions


def _by_key(answers: Iterable[Answer]) -> dict[AnswerKey, Answer]:
    answer_by_key: dict[AnswerKey, Answer] = {}
    for answer in answers:
        if _key(answer) in answer_by_key:
            raise ConservationError(
                f"Answer {answer.sample} to {answer.problem.id} comes twice in one round."
            )
        answer_by_key[_key(answer)] = answer
    return answer_by_key


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

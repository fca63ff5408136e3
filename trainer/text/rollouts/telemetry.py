"""Token accounting of a round; no token may disappear uncounted.

    generated = consumed + buffered + pruned + dropped

Every token counts where it was sampled: what a branch shares with its parent is the parent's.
Dropped tokens are counted by reason; buffered is what was stored or paused minus what was taken out
or resumed. Consumed are the sampled tokens that are trained on. If a plug-in rewrites the end of an
answer, the unchanged beginning is consumed and the replaced tokens count as dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, TrainRow

# The reason under which tokens count that a plug-in replaced in an answer.
REPLACED = "replaced"


class ConservationError(Exception):
    """A plug-in lost an answer or would train on one twice: a program error."""


@dataclass(frozen=True)
class Telemetry:
    """Token counts of a round, and the controller's decisions as “action: reason”.

    `staleness` is the mean over rows of how many updates ago the oldest of its tokens was sampled.
    `read` are the generated tokens and what the sampler read before them.
    """

    generated: int
    consumed: int
    buffered: int
    dropped: dict[str, int]
    rows: int
    share_edited: float
    staleness: float
    pruned: int = 0
    read: int = 0
    decisions: dict[str, int] = field(default_factory=dict)

    def event(self) -> dict[str, Any]:
        """The fields of a `pipeline` event."""
        names = (
            "generated",
            "consumed",
            "buffered",
            "pruned",
            "dropped",
            "rows",
            "share_edited",
            "decisions",
        )
        return {name: getattr(self, name) for name in names}

    def metrics(self) -> dict[str, float]:
        """The counts as metrics: tokens by what became of them, and decisions by action."""
        decisions: Counter[str] = Counter()
        for decision, count in self.decisions.items():
            decisions[decision.partition(":")[0]] += count
        tokens = {
            "generated": self.generated,
            "consumed": self.consumed,
            "buffered": self.buffered,
            "pruned": self.pruned,
            "dropped": sum(self.dropped.values()),
        }
        return {
            **{f"rollout_tokens/{name}": float(count) for name, count in tokens.items()},
            **{f"decisions/{action}": float(count) for action, count in decisions.items()},
        }

    def without_store(self, tokens: int, reason: str) -> Telemetry:
        """Count what is still stored or paused, `tokens`, as dropped."""
        if not tokens:
            return self
        return replace(
            self, buffered=self.buffered - tokens, dropped={**self.dropped, reason: tokens}
        )


@dataclass(frozen=True)
class WrittenTokens:
    """What a round counts while answers are written and stored.

    `read` are the generated tokens and what the sampler read before them, `in_flight` the change of
    the tokens of paused answers, `discarded` groups that left the replay store, with reasons.
    """

    generated: int
    read: int
    pruned: int
    in_flight: int
    discarded: Sequence[tuple[Group, str]]
    decisions: dict[str, int]


def account_for_round(
    new_groups: Sequence[Group],
    replayed: Sequence[Group],
    stored_groups: Sequence[Group],
    rows: Sequence[TrainRow],
    dropped: Sequence[DroppedAnswer],
    version: int,
    written: WrittenTokens,
) -> Telemetry:
    """Count a round's tokens and check that every answer is stored, a row, or dropped.

    `new_groups` were completed now, `replayed` ones taken from the replay store. Raises
    ConservationError if an answer is missing or occurs twice, or a token is not accounted for.
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
        key: max(0, shared_prefix(answer.ids, row.answer.ids) - answer.inherited)
        for row in rows
        for key in [_key(row.answer)]
        for answer in [incoming[key]]
    }
    reasons: Counter[str] = Counter()
    for dropped_answer in dropped:
        reasons[dropped_answer.reason] += incoming[_key(dropped_answer.answer)].own_length
    reasons[REPLACED] += sum(incoming[key].own_length - count for key, count in consumed.items())
    for group, reason in written.discarded:
        reasons[reason] += group.tokens
    telemetry = Telemetry(
        generated=written.generated,
        consumed=sum(consumed.values()),
        buffered=sum(group.tokens for group in stored_groups)
        - sum(group.tokens for group in (*replayed, *(group for group, _ in written.discarded)))
        + written.in_flight,
        dropped={reason: count for reason, count in reasons.items() if count},
        rows=len(rows),
        share_edited=_mean([row.edited for row in rows]),
        staleness=_mean([version - min(row.versions, default=version) for row in rows]),
        pruned=written.pruned,
        read=written.read,
        decisions=written.decisions,
    )
    accounted = telemetry.consumed + telemetry.buffered + telemetry.pruned
    if telemetry.generated != accounted + sum(telemetry.dropped.values()):
        raise ConservationError(
            f"The round generated {telemetry.generated} tokens, but accounts for "
            f"{accounted + sum(telemetry.dropped.values())}: a plug-in has changed answers."
        )
    return telemetry


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

"""The filter stage without references: the most common answer to a problem is taken to be right.

    label = the most common answer among a problem's answers, as the verifier reads them
    reward = 1 where an answer agrees with the label, else 0

An answer that cannot be read, or was cut, has no vote but stays in the group, so that it counts in
the share that agrees. If none can be read all rewards are 0. Of several most common answers the one
that was given first, by the number of its answer, is the label.

Source: TTRL, arXiv 2504.16084, section 2; its use in trees is ECHO, arXiv 2602.02150.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.spec import VoteFilter
from trainer.text.rollouts.filters import verifier
from trainer.text.rollouts.filters.filter_parts import FilterParts
from trainer.text.rollouts.filters.verifier import VerdictFilter
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, Prompt, TrainRow, Trajectory


def build(_: VoteFilter, parts: FilterParts) -> MajorityFilter:
    return MajorityFilter(verifier.verdict_filter(parts))


@dataclass(frozen=True)
class MajorityFilter:
    """Votes on each group; rows are made as by the filter `plain`."""

    plain: VerdictFilter

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        return [voted(group) for group in self.plain.judge(prompts, trajectories)]

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        # Again, because a controller may have added answers to a group that was judged before.
        return self.plain.rows([voted(group) for group in groups])


def voted(group: Group) -> Group:
    """Return the group with the verdicts of its vote."""
    label = majority([vote(answer) for answer in group.answers])
    answers = [
        replace(answer, verdict=bool(label) and vote(answer) == label) for answer in group.answers
    ]
    return replace(group, answers=tuple(answers))


def vote(answer: Answer) -> str:
    """The answer in one form: Unicode, case and white space do not count. "" is no vote."""
    if answer.truncated:
        return ""
    return " ".join(unicodedata.normalize("NFKC", answer.read).casefold().split())


def majority(votes: Sequence[str]) -> str:
    """The most common of the votes, of several the first one; "" without any vote."""
    # A Counter keeps the order of first occurrence among equal counts.
    common = Counter(vote for vote in votes if vote).most_common(1)
    return common[0][0] if common else ""

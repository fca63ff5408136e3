"""What passes through the four rooms of a round: requests go in, trajectories become judged groups,
groups become rows to train on.

A request asks for some answers to one problem; a trajectory is one answer, as the segments it was
written in (one, unless several hands wrote it). A group is what a problem of the batch was
answered, with verdicts; a row is one answer as the loss reads it. Token ids are kept from the
sampler to the loss. Shapes: T tokens of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainer.text.rollouts.answers import Answer, Question

Source = Literal["student", "teacher"]


@dataclass(frozen=True)
class SampleRequest:
    """Answers wanted to one problem. `problem` is its stable id and `samples` are rollout indices;
    both name the noise.
    """

    problem: str
    prompt: tuple[int, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive tokens by one author with one set of weights; log-probs and entropies in nats.

    `logprobs` are under the model's own law (temperature 1, nothing cut); `sampled_logprobs` under
    the law that was drawn from; `entropies` are those of the model's own law. All float32, one per
    id; NaN where the program that sampled does not tell. `version` counts the updates that the
    weights have had.
    """

    ids: tuple[int, ...]
    logprobs: NDArray[np.float32]
    sampled_logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    source: Source
    version: int = 0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One answer. `ids` include the end token unless the answer was cut at the length limit
    (`truncated`).
    """

    problem: str
    sample: int
    prompt: tuple[int, ...]
    segments: tuple[Segment, ...]
    truncated: bool

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return tuple(id for segment in self.segments for id in segment.ids)

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(segment.version for segment in self.segments)

    @cached_property
    def logprobs(self) -> NDArray[np.float32]:
        return np.concatenate([segment.logprobs for segment in self.segments])

    @cached_property
    def sampled_logprobs(self) -> NDArray[np.float32]:
        return np.concatenate([segment.sampled_logprobs for segment in self.segments])

    @cached_property
    def entropies(self) -> NDArray[np.float32]:
        return np.concatenate([segment.entropies for segment in self.segments])


@dataclass(frozen=True)
class Prompt:
    """A problem of a round as the student is asked it, with its weight w̃. A problem may come
    twice: it then gets other answers.
    """

    question: Question
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Group:
    """The judged answers to one problem of a round, whose tokens together are `tokens`."""

    prompt: Prompt
    answers: tuple[Answer, ...]

    @property
    def verdicts(self) -> list[bool]:
        """Those that could be reached."""
        return [answer.verdict for answer in self.answers if answer.verdict is not None]

    @property
    def tokens(self) -> int:
        return sum(len(answer.ids) for answer in self.answers)


@dataclass(frozen=True)
class Decision:
    """What becomes of a complete group: trained on now, kept for a later round, or left out, which
    needs a reason.
    """

    action: Literal["train", "store", "drop"]
    reason: str = ""


@dataclass(frozen=True, eq=False)
class DroppedAnswer:
    """An answer that is neither trained on nor kept, and why: a short phrase that telemetry counts
    under.
    """

    answer: Answer
    reason: str


# What a token is trained by: nothing, the divergence to the teacher, a ratio of policies, or the
# likelihood of the token itself.
NONE, DIVERGENCE, RATIO, CROSS_ENTROPY = range(4)


@dataclass(frozen=True, eq=False)
class TrainRow:
    """One answer as the loss reads it.

    The student learns `answer.ids` after `answer.prompt`, the learning context; the teacher reads
    the same ids after `teacher_prompt`. `owner` is the place of its problem in the batch,
    `siblings` how many rows that problem has, `weight` its w̃. Per token [T]: `kinds` (what it is
    trained by), `coefficients` (1 unless a plug-in says otherwise), `advantages` (ratio
    objectives), `anchor_logprobs` (of the policy that sampled it, at temperature 1) and
    `behaviour_logprobs` (under the very law it was drawn from, where another program than the
    trainer drew it). The last two are None where the student did not write these ids after this
    prompt: in an edited answer, in the teacher's, and where the learning context is not the
    sampling context. `versions` are those of the weights that wrote its segments. Raises ValueError
    if the lengths differ.
    """

    answer: Answer
    owner: int
    siblings: int
    weight: float
    teacher: str
    teacher_prompt: tuple[int, ...]
    kinds: NDArray[np.int8]
    coefficients: NDArray[np.float32]
    advantages: NDArray[np.float32] | None = None
    anchor_logprobs: NDArray[np.float32] | None = None
    behaviour_logprobs: NDArray[np.float32] | None = None
    edited: bool = False
    versions: tuple[int, ...] = ()
    confidence: float | None = None
    target_confidence: float | None = None

    def __post_init__(self) -> None:
        length = len(self.answer.ids)
        for name in (
            "kinds",
            "coefficients",
            "advantages",
            "anchor_logprobs",
            "behaviour_logprobs",
        ):
            column = getattr(self, name)
            if column is not None and len(column) != length:
                raise ValueError(
                    f"Answer {self.answer.sample} to {self.answer.problem.id} has {length} tokens, but {len(column)} {name}."
                )
        if self.edited and (
            self.anchor_logprobs is not None or self.behaviour_logprobs is not None
        ):
            raise ValueError(
                f"Answer {self.answer.sample} to {self.answer.problem.id} is edited: nobody sampled it as it stands."
            )

"""Records that pass through the four stages of a round.

Requests become trajectories, trajectories become judged groups, groups become rows to train on. A
request asks for some answers to one problem; a trajectory is one answer as the segments it was
written in (one, unless it was paused or several authors wrote it). A group holds the judged answers
to one problem of the batch; a row is one answer as the loss reads it. Token ids are kept from the
sampler to the loss.

Shapes: T tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainer.text.rollouts.questions import Answer, Question

# Who wrote a token; a forced one was neither sampled nor written by a teacher.
Source = Literal["student", "teacher", "forced"]
# Of a preference pair.
Side = Literal["chosen", "rejected"]
# Called with (done, of) as answers finish; it may raise, which cancels the sampling.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SampleRequest:
    """A request for answers to one problem.

    `problem` is its stable id and `samples` are rollout indices; both select the sampling noise.
    The answers continue the tokens of `prefix`, if there is one; they stop after at most
    `allowance` further tokens (default: what the length limit leaves). `forced` is the id of their
    next token, which is not sampled and becomes a segment of its own.
    """

    problem: str
    prompt: tuple[int, ...]
    samples: tuple[int, ...]
    prefix: Trajectory | None = None
    allowance: int | None = None
    forced: int | None = None

    @property
    def written(self) -> int:
        """Tokens of an answer that exist before it is continued."""
        return self.prefix.length if self.prefix else 0

    @property
    def context(self) -> tuple[int, ...]:
        """What is read before the next token: the prompt and the tokens of the prefix."""
        return self.prompt + self.prefix.ids if self.prefix else self.prompt

    def allowed(self, longest: int) -> int:
        """Return how many further tokens an answer of at most `longest` tokens may have."""
        left = longest - self.written
        return left if self.allowance is None else min(left, self.allowance)

    def answered(self, sample: int, segments: tuple[Segment, ...], truncated: bool) -> Trajectory:
        """Return the answer that continues the prefix with new segments, if there are any."""
        prefix = self.prefix
        if prefix is None:
            return Trajectory(self.problem, sample, self.prompt, segments, truncated)
        is_same = prefix.sample == sample
        return replace(
            prefix,
            sample=sample,
            segments=(*prefix.segments, *segments),
            truncated=truncated,
            parent=prefix.parent if is_same else prefix.sample,
            inherited=prefix.inherited if is_same else prefix.length,
        )


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive tokens by one author with one set of weights; log-probs and entropies in nats.

    `logprobs` are under the model's own distribution (temperature 1, no cuts); `sampled_logprobs`
    under the distribution that was sampled from; `entropies` are those of the model's own
    distribution. All are float32, one per id; NaN where the sampling program does not report them.
    `version` counts the updates that the weights have had.
    """

    ids: tuple[int, ...]
    logprobs: NDArray[np.float32]
    sampled_logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    source: Source
    version: int = 0

    def first(self, tokens: int) -> Segment:
        return Segment(
            self.ids[:tokens],
            self.logprobs[:tokens],
            self.sampled_logprobs[:tokens],
            self.entropies[:tokens],
            self.source,
            self.version,
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One answer, as far as it is written; `ids` include the end token unless it is `truncated`.

    A truncated answer below the length limit stopped at its allowance and may be continued. The
    first `inherited` tokens are those of its `parent`, another rollout index of its problem, which
    it branches from.
    """

    problem: str
    sample: int
    prompt: tuple[int, ...]
    segments: tuple[Segment, ...]
    truncated: bool
    parent: int | None = None
    inherited: int = 0

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return tuple(id for segment in self.segments for id in segment.ids)

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def own_length(self) -> int:
        """Tokens that were sampled for this answer and no other."""
        return self.length - self.inherited

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(segment.version for segment in self.segments)

    def first(self, tokens: int) -> Trajectory:
        """Return its first `tokens` tokens as an answer that may be continued."""
        segments, left = [], tokens
        for segment in self.segments:
            if left > 0:
                segments.append(segment.first(left))
            left -= len(segment.ids)
        return replace(self, segments=tuple(segments), truncated=True)

    @cached_property
    def logprobs(self) -> NDArray[np.float32]:
        return _joined([segment.logprobs for segment in self.segments])

    @cached_property
    def sampled_logprobs(self) -> NDArray[np.float32]:
        return _joined([segment.sampled_logprobs for segment in self.segments])

    @cached_property
    def law_logprobs(self) -> NDArray[np.float32]:
        """`sampled_logprobs`, NaN where a segment is not the student's.

        The student's law does not contain what others have written or forced.
        """
        return _joined(
            [
                segment.sampled_logprobs
                if segment.source == "student"
                else np.full(len(segment.ids), np.nan, np.float32)
                for segment in self.segments
            ]
        )

    @cached_property
    def entropies(self) -> NDArray[np.float32]:
        return _joined([segment.entropies for segment in self.segments])


def _joined(columns: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    # An answer that was paused before its first token has no segments.
    return np.concatenate(columns) if columns else np.zeros(0, np.float32)


@dataclass(frozen=True)
class Prompt:
    """A problem of a round as put to the student, with its weight w̃.

    A problem can occur twice in a round: it then gets different answers.
    """

    question: Question
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Group:
    """The judged answers to one problem of a round."""

    prompt: Prompt
    answers: tuple[Answer, ...]

    @property
    def verdicts(self) -> list[bool]:
        """The verdicts other than None."""
        return [answer.verdict for answer in self.answers if answer.verdict is not None]

    @property
    def tokens(self) -> int:
        """Tokens that were sampled for these answers; what branches share counts once."""
        return sum(answer.own_length for answer in self.answers)


@dataclass(frozen=True)
class PausedGroup:
    """The answers to one problem, of which at least one was paused; none has a verdict yet."""

    prompt: Prompt
    trajectories: tuple[Trajectory, ...]

    @property
    def tokens(self) -> int:
        return sum(trajectory.own_length for trajectory in self.trajectories)


@dataclass(frozen=True, eq=False)
class TrajectoryEvent:
    """What a controller decides by: an answer so far, which has ended or reached its allowance.

    `finished`: its end token is written, or the length limit is reached.
    """

    trajectory: Trajectory
    finished: bool


@dataclass(frozen=True)
class AnswerInProgress:
    """What a controller that watches tokens knows of an answer beside them.

    `length` are its tokens so far, of which `start` were written before its handle began. `parent`
    is the rollout index that it branches from.
    """

    problem: str
    sample: int
    length: int
    start: int = 0
    parent: int | None = None


@dataclass(frozen=True)
class Decision:
    """What happens to an answer or to a complete group, and why; telemetry counts both.

    To an answer: *continue* it; *branch* off `count` further answers that share its first `tokens`
    tokens, and continue it (branches of an answer that is being written may have `forced` next
    tokens, one id for each); *prune* it; *pause* it with its group until a later round. To a group
    whose answers are judged: *train* on it, *resample*, which adds `count` answers to it, *store*
    it for a later round, or *drop* it.
    """

    action: Literal["train", "continue", "branch", "prune", "resample", "pause", "store", "drop"]
    reason: str = ""
    count: int = 0
    tokens: int = 0
    forced: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.action}: {self.reason}" if self.reason else self.action


@dataclass(frozen=True, eq=False)
class DroppedAnswer:
    """An answer that is neither trained on nor stored; telemetry counts it under `reason`."""

    answer: Answer
    reason: str


# What a token is trained by: nothing, the divergence to the teacher, a ratio of policies, the
# likelihood of the token itself, or that of its whole answer against another one.
NONE, DIVERGENCE, RATIO, CROSS_ENTROPY, PREFERENCE = range(5)

# The fields of a `TrainRow` that have a value for each token.
TOKEN_COLUMNS = (
    "kinds",
    "coefficients",
    "advantages",
    "anchor_logprobs",
    "behaviour_logprobs",
    "teacher_logprobs",
    "reference_logprobs",
    "clip_low",
    "clip_high",
    "ratio_offsets",
)


@dataclass(frozen=True, eq=False)
class TrainRow:
    """One answer as the loss reads it.

    The student learns `answer.ids` after `answer.prompt`, the learning context; the teacher reads
    the same ids after `teacher_prompt`. `owner` is the index of its problem in the batch,
    `siblings` how many rows that problem has, `weight` its w̃. `row_weight` multiplies the loss of
    the row; with 0 it still counts in Z. Per token [T]: `kinds` (what it is trained by),
    `coefficients` (1 unless a plug-in says otherwise), `advantages` (ratio objectives),
    `anchor_logprobs` (of the weights at the beginning of the round, at the temperature of sampling)
    and `behaviour_logprobs` (under the exact distribution it was sampled from; NaN for tokens that
    the student did not sample). The last is None where the student did not write these ids after
    this prompt: in an edited answer, in the teacher's, and where the learning context is not the
    sampling context. The score phase gives the anchors where they are missing, and
    `teacher_logprobs` and `reference_logprobs` where the stage needs them. Shapers give `clip_low`,
    `clip_high` and `ratio_offsets` (`Write`). `versions` are those of the weights that wrote its
    segments. The two rows of a preference pair have its number in the round as `pair`, their
    `side`, and as `reference_answer_logprob` the sum of their tokens' log-probs under the
    reference. Raises ValueError if the lengths differ.
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
    teacher_logprobs: NDArray[np.float32] | None = None
    reference_logprobs: NDArray[np.float32] | None = None
    clip_low: NDArray[np.float32] | None = None
    clip_high: NDArray[np.float32] | None = None
    ratio_offsets: NDArray[np.float32] | None = None
    row_weight: float = 1.0
    edited: bool = False
    versions: tuple[int, ...] = ()
    confidence: float | None = None
    target_confidence: float | None = None
    pair: int | None = None
    side: Side | None = None
    reference_answer_logprob: float = 0.0

    def __post_init__(self) -> None:
        length = len(self.answer.ids)
        for name in TOKEN_COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != length:
                raise ValueError(
                    f"Answer {self.answer.sample} to {self.answer.problem.id} has {length} "
                    f"tokens, but {len(column)} {name}."
                )
        # An importance weight of an edited answer would be computed without any error.
        if self.edited and self.behaviour_logprobs is not None:
            raise ValueError(
                f"Answer {self.answer.sample} to {self.answer.problem.id} is edited: nobody "
                "sampled it as it stands."
            )


def with_column(
    rows: Sequence[TrainRow], name: str, columns: Sequence[NDArray[np.float32]]
) -> list[TrainRow]:
    """Return the rows with a column of their tokens, one [T] for each row."""
    changes: list[dict[str, Any]] = [{name: column} for column in columns]
    return [replace(row, **change) for row, change in zip(rows, changes, strict=True)]

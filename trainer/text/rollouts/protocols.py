"""Protocols of the rollout plug-ins; the pipeline knows nothing else about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import (
    AnswerInProgress,
    Decision,
    DroppedAnswer,
    Group,
    Progress,
    Prompt,
    SampleRequest,
    TrainRow,
    Trajectory,
    TrajectoryEvent,
)
from trainer.text.rollouts.streaming import Measures, StepEvents

# Of a group, one of its answers and the confidence that takes the place of any stated in what the
# teacher is shown (None: leave it): the name of the teacher and the ids that it reads before the
# answer.
TeacherContext = Callable[[Group, Answer, float | None], tuple[str, tuple[int, ...]]]


class Engine(Protocol):
    """Samples the student's answers."""

    def update(self, version: int) -> None:
        """Sample from now on with the student's present weights, after `version` updates."""

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        """Return the requested answers, in the order of `requests` and then of their samples.

        A finished answer is never sampled again.
        """


class Generator(Protocol):
    """Decides how a problem is put to the student and how its answers are sampled."""

    @property
    def per_problem(self) -> int: ...

    @property
    def sampling(self) -> Sampling: ...

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        """One request for each prompt, for counts[i] answers to prompt i."""


class Filter(Protocol):
    """Judges answers and decides how they are trained on."""

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        """The group of each prompt, from the trajectories that answer it."""

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        """Turn every answer into a row or a dropped answer.

        Rows follow the order of the groups; a row's `owner` is the index of its group.
        """


class Controller(Protocol):
    """Alone decides how much is generated and what happens to each answer and group."""

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        """Return the number of answers per prompt and reserve them. Raises BudgetExceeded.

        A prompt with 0 answers takes no part in the round.
        """

    def decide(self, group: Group) -> Decision:
        """Decide about a group whose answers are judged: train, resample, store or drop."""


@runtime_checkable
class TrajectoryController(Protocol):
    """A controller that also decides about single answers; others continue all of them."""

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        """Decide about an answer that stopped: continue, branch, prune or pause.

        Continuing a finished answer completes it.
        """


@runtime_checkable
class TokenController(Protocol):
    """A controller that decides about answers while they are written.

    It is asked after every `every` token steps, and of each token sees what `measures` say. Its
    settings declare the abilities that it needs of the sampler.
    """

    @property
    def measures(self) -> Measures: ...

    @property
    def every(self) -> int: ...

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        """Decide about answers in progress: branch, prune or pause, by handle.

        `answers` are all that have not ended, also those that wait for their first token; what is
        not decided about goes on. A branch has a handle of its own in the next call.
        """


@runtime_checkable
class BudgetingController(Protocol):
    """A controller whose rounds may generate more than the generator's answers to each problem."""

    def budget(self, problems: int, generator: Generator) -> Budget:
        """The budget of a round of so many problems, without what is in flight."""


class Replay(Protocol):
    """Groups that are stored for a later round. One that stores any is `Stateful`."""

    def take(self) -> list[Group]:
        """Remove and return the groups to train on in this round."""

    def put(self, groups: Sequence[Group]) -> Sequence[tuple[Group, str]] | None:
        """Store groups; return those that leave the store unused, each with the reason."""


@dataclass(frozen=True)
class StoredState:
    """What a plug-in needs in a resumed run: JSON values, and groups of judged answers."""

    values: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[Group] = ()


@runtime_checkable
class Stateful(Protocol):
    """A generator, controller or replay whose later rounds depend on earlier ones.

    Plug-ins live as long as their stage. Checkpoints have their state, and a round that fails and
    is repeated begins with it.
    """

    def state(self) -> StoredState: ...

    def load(self, state: StoredState) -> None:
        """Replace the state by one that `state` returned, in this process or an earlier one."""

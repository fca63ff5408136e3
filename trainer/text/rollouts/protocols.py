"""Protocols of the rollout plug-ins; the pipeline knows nothing else about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import (
    Decision,
    DroppedAnswer,
    Group,
    Progress,
    Prompt,
    SampleRequest,
    TrainRow,
    Trajectory,
)

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
    """Alone decides how much is generated and what happens to each group."""

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        """Return the number of answers per prompt and reserve them. Raises BudgetExceeded."""

    def decide(self, group: Group) -> Decision: ...


class Replay(Protocol):
    """Groups that are stored for a later round."""

    def take(self) -> list[Group]:
        """Remove and return the groups to train on in this round."""

    def put(self, groups: Sequence[Group]) -> None: ...

"""What the rooms of a round ask of each other. Every plug-in fits one of these; the pipeline knows
no more of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.answers import Answer
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import (
    Decision,
    DroppedAnswer,
    Group,
    Prompt,
    SampleRequest,
    TrainRow,
    Trajectory,
)

Progress = Callable[[int, int], None]

# Of a group, one of its answers and the confidence that takes the place of any stated in what the
# teacher is shown (None: leave it): the name of the teacher and the ids that it reads before the
# answer.
TeacherContext = Callable[[Group, Answer, float | None], tuple[str, tuple[int, ...]]]


class Engine(Protocol):
    """Writes the student's answers. `version` counts the updates of the weights that it writes
    with.
    """

    @property
    def version(self) -> int: ...

    def update(self, version: int) -> None:
        """Write from now on with the student's weights as they are at this moment, which are called
        `version`.
        """

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        """The requested answers, in the order of `requests` and then of their samples. A finished
        answer is never written again.
        """


class Generator(Protocol):
    """Says how a problem is asked and its answers are drawn."""

    @property
    def per_problem(self) -> int: ...

    @property
    def sampling(self) -> Sampling: ...

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        """One request for each prompt, for counts[i] answers to prompt i."""


class Filter(Protocol):
    """Judges answers and says how they are trained on."""

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        """The group of each prompt, from the trajectories that answer it."""

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        """Every answer as a row, or among the dropped; rows in the order of the groups, whose
        places are the rows' owners.
        """


class Controller(Protocol):
    """Alone decides how much is generated and what becomes of it."""

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        """How many answers each prompt gets, reserved from the budget. Raises BudgetExceeded."""

    def decide(self, group: Group) -> Decision: ...


class Replay(Protocol):
    """Groups that wait for a later round."""

    def take(self) -> list[Group]:
        """Groups to train on in this round; they leave the store."""

    def put(self, groups: Sequence[Group]) -> None: ...

    def state(self) -> dict[str, Any]:
        """Everything that `load` needs, as JSON has it."""

    def load(self, state: dict[str, Any]) -> None: ...

"""The control stage: the same number of answers for each problem, all trained on at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.spec.controllers.controller import ControllerSettings
from trainer.spec.controllers.fixed import FixedControl
from trainer.text.rollouts.budget import Budget
from trainer.text.rollouts.protocols import Generator
from trainer.text.rollouts.records import Decision, Group, Prompt


@dataclass(frozen=True)
class FixedController:
    """Controllers with other decisions inherit its plan; their settings are their own."""

    settings: ControllerSettings = field(default_factory=FixedControl)

    def plan(self, prompts: Sequence[Prompt], generator: Generator, budget: Budget) -> list[int]:
        # The most that can be written is reserved; `Budget.spend` releases what is not used.
        answers = len(prompts) * generator.per_problem
        budget.reserve(answers, answers * generator.sampling.max_new_tokens)
        return [generator.per_problem] * len(prompts)

    def decide(self, group: Group) -> Decision:
        return Decision("train")

from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.controllers.controller import ControllerSettings


class DynamicSampling(ControllerSettings):
    """Problems whose answers all have one verdict are asked again, and then left out.

    Their answers have no advantages. DAPO fills the step with other problems instead; here the step
    has fewer problems, and its means are over those that are left.
    """

    kind: Literal["dynamic_sampling"] = "dynamic_sampling"
    function = "trainer.text.rollouts.controllers.dynamic_sampling:DynamicSamplingController"
    most_answers: int = option(
        16,
        title="Most answers",
        help="A problem whose answers all have one verdict gets as many answers again, up to this "
        "number in all. With the number of answers to a problem or less it is left out at once.",
        unit="answers",
        ge=0,
        le=1024,
        paper="DAPO, arXiv 2503.14476",
    )

    def answers_at_most(self, per_problem: int) -> int:
        return max(per_problem, self.most_answers)

    def describe(self) -> str:
        return (
            f"problems whose answers all have one verdict get up to {self.most_answers} answers, "
            "and are left out if they still do"
        )

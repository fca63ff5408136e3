from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.objective import Need, Objective, Write


class PolicyGradient(Objective):
    """−A log p_S(token) with A = log p_T(token) − log p_S(token).

    Reverse KL, estimated from the sampled token alone.
    """

    kind: Literal["policy_gradient"] = "policy_gradient"
    function = "trainer.text.objectives.policy_gradient:loss"
    needs = frozenset({Need.TEACHER_LOGPROB})
    answers = "own"
    shaped_by = frozenset({Write.IMPORTANCE_WEIGHTS, Write.ROW_WEIGHT})
    # Kept for stored definitions: the temperature of sampling divides the logits of both models.
    temperature: float = option(
        1.0,
        title="Temperature",
        help="The temperature of sampling divides the logits of both models. 1, or that "
        "temperature.",
        gt=0,
        le=10,
        expert=True,
    )

    def describe(self) -> str:
        return "policy gradient towards the teacher on the sampled tokens"

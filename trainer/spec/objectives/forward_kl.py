from __future__ import annotations

from typing import Literal

from trainer.spec.objectives.divergence import Divergence


class ForwardKL(Divergence):
    """KL(teacher ‖ student): the student covers all that the teacher would write."""

    kind: Literal["forward_kl"] = "forward_kl"
    function = "trainer.text.objectives.forward_kl:entries"
    gradient = "trainer.text.objectives.forward_kl:entries_and_slopes"

    def describe(self) -> str:
        return "forward KL to the teacher"

from __future__ import annotations

from typing import Literal

from trainer.spec.objectives.divergence import Divergence


class ReverseKL(Divergence):
    """KL(student ‖ teacher): the student avoids what the teacher would not write."""

    kind: Literal["reverse_kl"] = "reverse_kl"
    function = "trainer.text.objectives.reverse_kl:entries"
    gradient = "trainer.text.objectives.reverse_kl:entries_and_slopes"

    def describe(self) -> str:
        return "reverse KL to the teacher"

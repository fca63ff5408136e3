from __future__ import annotations

from typing import Literal

from trainer.spec.objectives.objective import Objective


class CrossEntropy(Objective):
    """−log p_S(token): supervised training on the given answers."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    function = "trainer.text.objectives.cross_entropy:loss"
    needs = frozenset()
    answers = "given"
    edited_answers = True

    def describe(self) -> str:
        return "cross-entropy"

from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.objective import Objective

DPO_PAPER = "DPO, arXiv 2305.18290"


class DPO(Objective):
    """−log σ(β · margin) of preference pairs (direct preference optimisation).

    The margin is how much more the student has raised the chosen answer's log-prob than the
    rejected one's since the stage began.
    """

    kind: Literal["dpo"] = "dpo"
    function = "trainer.text.objectives.dpo:loss"
    needs = frozenset()
    answers = "pairs"
    beta: float = option(
        0.1,
        title="β",
        help="Weight of the log-ratios to the reference: the higher, the nearer the student stays "
        "to it.",
        gt=0,
        le=100,
        paper=DPO_PAPER,
    )
    # The “conservative” DPO of the same first author (E. Mitchell, “A note on DPO with noisy
    # preferences”, 2023).
    label_smoothing: float = option(
        0.0,
        title="Label smoothing",
        help="Share of pairs that are taken to be labelled the wrong way round.",
        ge=0,
        lt=0.5,
        expert=True,
    )

    def describe(self) -> str:
        return f"DPO with β = {self.beta:g}"

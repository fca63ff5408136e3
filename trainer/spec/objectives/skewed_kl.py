from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.divergence import Divergence

DISTILLM = "DistiLLM, arXiv 2402.03898"


class SkewedKL(Divergence):
    """KL to a mixture of both distributions, which is never infinite."""

    kind: Literal["skewed_kl"] = "skewed_kl"
    function = "trainer.text.objectives.skewed_kl:entries"
    gradient = "trainer.text.objectives.skewed_kl:entries_and_slopes"
    direction: Literal["forward", "reverse"] = option(
        "forward",
        title="Direction",
        help="forward: KL(p_T ‖ α p_T + (1 − α) p_S). reverse: KL(p_S ‖ α p_S + (1 − α) p_T).",
    )
    alpha: float = option(
        0.1,
        title="α",
        help="Share of the first distribution in the mixture; 0 is plain KL.",
        ge=0,
        lt=1,
        paper=DISTILLM,
    )

    def describe(self) -> str:
        return "skewed KL to the teacher"

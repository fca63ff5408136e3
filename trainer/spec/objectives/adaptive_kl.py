from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.divergence import Divergence

AKL = "AKL, arXiv 2404.02657"


class AdaptiveKL(Divergence):
    """Forward and reverse KL, mixed at each token by where the two models differ.

    Differences in the teacher's head weight forward KL, those in its tail reverse KL.
    """

    kind: Literal["adaptive_kl"] = "adaptive_kl"
    function = "trainer.text.objectives.adaptive_kl:entries"
    gradient = "trainer.text.objectives.adaptive_kl:entries_and_slopes"
    # μ = 0.5 is AKL's: the head is the shortest list of likeliest tokens with that much mass.
    head_mass: float = option(
        0.5,
        title="Head mass μ",
        help="Probability mass of the head, the teacher's most likely tokens.",
        gt=0,
        lt=1,
        paper=AKL,
    )

    def describe(self) -> str:
        return "adaptive KL to the teacher"

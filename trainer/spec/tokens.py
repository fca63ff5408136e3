"""Which tokens of an answer are learnt from (TIP, arXiv 2604.14084)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import Section, option

TIP = "TIP, arXiv 2604.14084"


class AllTokens(Section):
    """Every token of an answer counts."""

    kind: Literal["all"] = "all"


class SelectedTokens(Section):
    """A share of the tokens counts: those with the highest score, or drawn by it."""

    kind: Literal["selected"] = "selected"
    score: Literal["entropy", "divergence", "soft_or", "confident_and_wrong", "random"] = option(
        "soft_or",
        title="Score",
        help="entropy: the student's. divergence: reverse KL to the teacher. soft_or: high where either is. confident_and_wrong: forward "
        "KL where the student's entropy is low (Q3). random: none, as a control.",
        paper=TIP,
    )
    how: Literal["top", "sample", "bottom"] = option(
        "top",
        title="Chosen",
        help="top: the highest. sample: drawn without replacement, in proportion to the score. bottom: the lowest, as a control.",
        paper=TIP,
    )
    share: float = option(
        0.5,
        title="Share kept",
        help="Of the tokens of each answer; at least one is kept.",
        gt=0,
        le=1,
        paper=TIP,
    )
    scope: Literal["batch", "answer"] = option(
        "batch",
        title="Scaled over",
        help="Scores are scaled to 0 … 1 over the whole step or over each answer.",
        expert=True,
        paper=TIP,
    )
    entropy_quantile: float = option(
        0.98,
        title="Entropy clipped at",
        help="Quantile above which entropies count the same.",
        gt=0,
        le=1,
        expert=True,
        paper=TIP,
    )
    divergence_quantile: float = option(
        1.0,
        title="Divergence clipped at",
        help="The same for divergences; 1 clips none, as published.",
        gt=0,
        le=1,
        expert=True,
        paper=TIP,
    )


Tokens = Annotated[AllTokens | SelectedTokens, Field(discriminator="kind")]

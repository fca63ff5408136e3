"""Selection of the tokens of an answer that are trained on (TIP, arXiv 2604.14084)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import Section, option
from trainer.spec.token_scores import TOKEN_SCORES, ScoreName

TIP = "TIP, arXiv 2604.14084"


class AllTokens(Section):
    """All tokens of an answer are trained on."""

    kind: Literal["all"] = "all"


class SelectedTokens(Section):
    """A share of the tokens is trained on, selected by a score."""

    kind: Literal["selected"] = "selected"
    # For Q3 the paper ranks by forward KL and trains with reverse KL.
    score: ScoreName = option(
        "soft_or",
        title="Score",
        help="Which tokens are selected.",
        choice_help={name: score.help for name, score in TOKEN_SCORES.items()},
        paper=TIP,
    )
    # The paper samples by entropy and takes the top by Soft-OR; to compare two scores, use one
    # rule.
    how: Literal["top", "sample", "bottom"] = option(
        "top",
        title="Selection rule",
        help="top: the highest scores. sample: drawn without replacement in proportion to the "
        "score. bottom: the lowest scores, as a control.",
        paper=TIP,
    )
    share: float = option(
        0.5,
        title="Selected share",
        help="Share of the tokens of each answer that is trained on; at least one token.",
        gt=0,
        le=1,
        paper=TIP,
    )
    scope: Literal["batch", "answer"] = option(
        "batch",
        title="Scope of score scaling",
        help="Scores are scaled to 0 … 1 over the batch of a step or over each answer.",
        expert=True,
        paper=TIP,
    )
    # The paper's 98th percentile: one outlier would squeeze all other entropies towards 0.
    entropy_quantile: float = option(
        0.98,
        title="Entropy clip quantile",
        help="Entropies above this quantile are clipped to it before scaling.",
        gt=0,
        le=1,
        expert=True,
        paper=TIP,
    )
    divergence_quantile: float = option(
        1.0,
        title="Divergence clip quantile",
        help="Divergences above this quantile are clipped to it before scaling; 1: none, as "
        "published.",
        gt=0,
        le=1,
        expert=True,
        paper=TIP,
    )


Tokens = Annotated[AllTokens | SelectedTokens, Field(discriminator="kind")]

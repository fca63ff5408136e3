from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import Section, option
from trainer.spec.objectives.objective import Need, Objective, Write

DAPO = "DAPO, arXiv 2503.14476"
GRPO_PAPER = "GRPO, arXiv 2402.03300"


class NoKL(Section):
    """The loss has no KL term."""

    kind: Literal["none"] = "none"


class KLTerm(Section):
    """The loss has a KL term, which keeps the student near another distribution."""

    kind: Literal["kl"] = "kl"
    to: Literal["reference", "teacher"] = option(
        "reference",
        title="KL to",
        help="Whose distribution the student is kept near.",
        choice_help={
            "reference": "The student as it was when the stage began.",
            "teacher": "The teacher.",
        },
    )
    estimator: Literal["k2", "k3"] = option(
        "k2",
        title="KL estimator",
        help="How the KL divergence is estimated from the sampled token.",
        choice_help={
            "k2": "Half the square of the difference of log-probs; its expected gradient is that "
            "of the reverse KL.",
            "k3": "As published for GRPO; its expected gradient is that of the forward KL.",
        },
        paper=GRPO_PAPER,
    )
    coefficient: float = option(
        0.04, title="β", help="Weight of the KL term.", gt=0, le=100, paper=GRPO_PAPER
    )


class GRPO(Objective):
    """Clipped surrogate loss on the verdicts.

    The advantages are the verdicts of a problem's answers minus their mean.
    """

    kind: Literal["grpo"] = "grpo"
    function = "trainer.text.objectives.grpo:loss"
    needs = frozenset({Need.OLD_LOGPROB, Need.GROUP_VERDICTS})
    answers = "own"
    shaped_by = frozenset(Write)
    # 0.2 and 0.28 are DAPO's “clip higher”: a wider upper range lets unlikely tokens grow.
    clip_low: float = option(
        0.2,
        title="Lower clip range",
        help="Ratios below 1 − this value have no gradient.",
        gt=0,
        lt=1,
        expert=True,
        paper=DAPO,
    )
    clip_high: float = option(
        0.28,
        title="Upper clip range",
        help="Ratios above 1 + this value have no gradient.",
        gt=0,
        le=10,
        expert=True,
        paper=DAPO,
    )
    dual_clip: float | None = option(
        None,
        title="Dual clip c",
        help="Ratios above this value have no gradient where the advantage is negative; empty: no "
        "limit. 3 in the paper.",
        gt=1,
        le=100,
        expert=True,
        paper="Dual clip, arXiv 1912.09729",
    )
    ratio: Literal["token", "sequence", "sequence_token"] = option(
        "token",
        title="Ratio",
        help="What is compared with the weights that sampled the answers. Clip ranges of answers "
        "are about a thousand times narrower than those of tokens: 0.0003 and 0.0004 in the paper.",
        choice_help={
            "token": "Each token (GRPO, PPO).",
            "sequence": "The whole answer, by the mean of its log-ratios (GSPO).",
            "sequence_token": "The same, with a gradient for each token (GSPO-token), which may "
            "then have its own advantage.",
        },
        expert=True,
        paper="GSPO, arXiv 2507.18071",
    )
    kl: Annotated[NoKL | KLTerm, Field(discriminator="kind")] = option(
        title="KL term", help="Whether the loss has a KL term.", factory=NoKL, expert=True
    )
    standardise: bool = option(
        True,
        title="Standardised advantages",
        help="Divide the advantages of a problem by their standard deviation.",
        expert=True,
    )

    @property
    def requirements(self) -> frozenset[Need]:
        if isinstance(self.kl, NoKL):
            return self.needs
        by = Need.TEACHER_LOGPROB if self.kl.to == "teacher" else Need.REFERENCE_LOGPROB
        return self.needs | {by}

    @property
    def learns_by_advantage_alone(self) -> bool:
        return isinstance(self.kl, NoKL)

    def describe(self) -> str:
        name = "GRPO" if self.ratio == "token" else self.ratio.replace("sequence", "GSPO")
        kl = f", with KL to the {self.kl.to}" if isinstance(self.kl, KLTerm) else ""
        return f"{name.replace('_', '-')} on the verdicts{kl}"

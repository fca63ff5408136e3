"""The objective of a stage: the loss at each token.

p_T and p_S are the next-token distributions of teacher and student.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import OPSD, Section, option

DISTILLM = "DistiLLM, arXiv 2402.03898"
AKL = "AKL, arXiv 2404.02657"
DAPO = "DAPO, arXiv 2503.14476"


class NoClip(Section):
    """Divergences are not clipped."""

    kind: Literal["none"] = "none"


class Clip(Section):
    """Divergences are clipped, so that a few tokens of style do not dominate the loss."""

    kind: Literal["clip"] = "clip"
    scope: Literal["entry", "entry_nonneg", "token"] = option(
        "entry",
        title="Clip scope",
        help="entry: each (token, vocabulary entry), as published; negative entries are not "
        "clipped. entry_nonneg: the same in a form "
        "without negative entries. token: the sum over the vocabulary, for small vocabularies.",
        paper=OPSD,
    )
    # τ = 0.05 is OPSD's, which was not tuned there. It limits one entry of the sum over the
    # vocabulary, so a small vocabulary, with few entries to a token, needs a larger one.
    limit: float = option(
        0.05,
        title="Limit τ",
        help="0.05 is for vocabularies of 10,000 entries and more.",
        unit="nats",
        gt=0,
        le=100,
    )


class AllLogits(Section):
    """The divergence is computed over the whole vocabulary."""

    kind: Literal["all"] = "all"


class TopLogits(Section):
    """The divergence is computed over the k most likely tokens of one of the models."""

    kind: Literal["top"] = "top"
    k: int = option(100, title="k", help="Number of tokens.", ge=1, le=1_000_000)
    of: Literal["teacher", "student"] = option(
        "teacher", title="Top-k model", help="Model whose most likely tokens are compared."
    )
    # The tail follows the whole vocabulary more closely: forward KL over a confidently wrong
    # student's five tokens is 4.78 nats, with the teacher's top 2 and a tail 4.74, with the
    # renormalised top 2 0.39.
    rest: Literal["renormalise", "tail"] = option(
        "tail",
        title="Other tokens",
        help="renormalise: left out. tail: one entry for all other tokens.",
        expert=True,
    )


class _Divergence(Section):
    # Without Hinton's τ², as in the reference code of the recipes.
    temperature: float = option(
        1.0,
        title="Temperature",
        help="Divides the logits of both models, without a factor τ².",
        gt=0,
        le=10,
        expert=True,
    )
    clip: Annotated[NoClip | Clip, Field(discriminator="kind")] = option(
        title="Clipping", help="Whether large divergences are clipped.", factory=NoClip, expert=True
    )
    vocabulary: Annotated[AllLogits | TopLogits, Field(discriminator="kind")] = option(
        title="Vocabulary", help="Which tokens are compared.", factory=AllLogits, expert=True
    )


class ForwardKL(_Divergence):
    """KL(teacher ‖ student): the student covers all that the teacher would write."""

    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKL(_Divergence):
    """KL(student ‖ teacher): the student avoids what the teacher would not write."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class JSD(_Divergence):
    """Generalised Jensen–Shannon divergence β KL(p_T ‖ m) + (1 − β) KL(p_S ‖ m).

    The mixture is m = β p_T + (1 − β) p_S.
    """

    kind: Literal["jsd"] = "jsd"
    # JSD_β tends to 0 for β → 0, and only JSD_β / β tends to forward KL. The endpoints are
    # therefore defined as the two KLs, as in GKD, OPSD and TRL.
    beta: float = option(
        0.5,
        title="β",
        help="Share of the teacher in the mixture. 0 is forward KL and 1 reverse KL, because the "
        "limits would be 0.",
        ge=0,
        le=1,
        paper=OPSD,
    )


class SkewedKL(_Divergence):
    """KL to a mixture of both distributions, which is never infinite."""

    kind: Literal["skewed_kl"] = "skewed_kl"
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


class AdaptiveKL(_Divergence):
    """Forward and reverse KL, mixed at each token by where the two models differ.

    Differences in the teacher's head weight forward KL, those in its tail reverse KL.
    """

    kind: Literal["adaptive_kl"] = "adaptive_kl"
    # μ = 0.5 is AKL's: the head is the shortest list of likeliest tokens with that much mass.
    head_mass: float = option(
        0.5,
        title="Head mass μ",
        help="Probability mass of the head, the teacher's most likely tokens.",
        gt=0,
        lt=1,
        paper=AKL,
    )


class PolicyGradient(Section):
    """−A log p_S(token) with A = log p_T(token) − log p_S(token).

    Reverse KL, estimated from the sampled token alone.
    """

    kind: Literal["policy_gradient"] = "policy_gradient"
    temperature: float = option(
        1.0,
        title="Temperature",
        help="Divides the logits of both models.",
        gt=0,
        le=10,
        expert=True,
    )


class GRPO(Section):
    """Clipped surrogate loss without a teacher.

    The advantages are the verdicts of a problem's answers minus their mean.
    """

    kind: Literal["grpo"] = "grpo"
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
    standardise: bool = option(
        True,
        title="Standardised advantages",
        help="Divide the advantages of a problem by their standard deviation.",
        expert=True,
    )


class CrossEntropy(Section):
    """−log p_S(token): supervised training on the given answers."""

    kind: Literal["cross_entropy"] = "cross_entropy"


Objective = Annotated[
    ForwardKL | ReverseKL | JSD | SkewedKL | AdaptiveKL | PolicyGradient | GRPO | CrossEntropy,
    Field(discriminator="kind"),
]
Divergence = ForwardKL | ReverseKL | JSD | SkewedKL | AdaptiveKL

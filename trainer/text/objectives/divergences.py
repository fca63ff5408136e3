"""Divergences between the next-token distributions of teacher and student, by their definitions.

With p = softmax(z / τ) of the teacher's (T) and the student's (S) logits z, in nats, no factor τ²:

    forward KL    KL(p_T ‖ p_S) = Σ_v p_T (log p_T − log p_S)
                  covers all that the teacher writes
    reverse KL    KL(p_S ‖ p_T) = Σ_v p_S (log p_S − log p_T)
                  avoids what the teacher does not write
    JSD           β KL(p_T ‖ m) + (1 − β) KL(p_S ‖ m) with m = β p_T + (1 − β) p_S
                  (GKD, arXiv 2306.13649)
    skewed KL     KL(p_T ‖ α p_T + (1 − α) p_S), or KL(p_S ‖ α p_S + (1 − α) p_T)
                  (DistiLLM, arXiv 2402.03898)
    adaptive KL   (g_head forward KL + g_tail reverse KL) / (g_head + g_tail), g = Σ |p_T − p_S|
                  over the teacher's likeliest tokens up to a mass μ (head) and over the others
                  (tail) (AKL, arXiv 2404.02657)

β = 0 is forward KL and β = 1 reverse KL. They are not the limits of the JSD, which are 0, but those
of JSD / β and JSD / (1 − β).

Every function takes logits [T, V], **teacher first**, and returns [T], one value per position, not
reduced. The gradient flows into the student's logits only; the teacher's, the choice of top tokens
and AKL's gaps are constants. The computation uses at least float32.

`vocabulary` = TopLogits(k, of, rest): both distributions over the k likeliest tokens of teacher or
student. rest="renormalise": over these only. rest="tail": over these and one entry with the mass of
all others.

`clip` = Clip(scope, limit). A divergence is Σ_v ℓ_v; for forward KL ℓ_v = p_T (log p_T − log p_S).

    entry          Σ_v min(ℓ_v, limit), as published (OPSD, arXiv 2601.18734). Negative entries are
                   not clipped, so the sum can be negative and a clipped token may have no gradient.
    entry_nonneg   the same on a log(a / b) − a + b instead of a log(a / b): the same sum without a
                   clip, no entry below 0
    token          min(D, limit), by rescaling: above the limit the gradient is (limit / D) ∇D

For small vocabularies, and as the reference of `linear_divergence`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.spec.objectives import (
    JSD,
    AdaptiveKL,
    AllLogits,
    Clip,
    Divergence,
    ForwardKL,
    NoClip,
    ReverseKL,
    SkewedKL,
    TopLogits,
)
from trainer.text.objectives.vocabularies import restrict, top_ids

Clipping = NoClip | Clip
Vocabulary = AllLogits | TopLogits
NO_CLIP = NoClip()
ALL_LOGITS = AllLogits()
INITIAL_TOP_K = 64


def forward_kl(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    temperature: float = 1.0,
    clip: Clipping = NO_CLIP,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> Tensor:
    """Return KL(p_T ‖ p_S), [T]. Gradient without a clip: (p_S − p_T) / τ."""
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, temperature, vocabulary
    )
    return sum_entries(kl_entries(log_t_TV, log_s_TV, clip), clip)


def reverse_kl(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    temperature: float = 1.0,
    clip: Clipping = NO_CLIP,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> Tensor:
    """Return KL(p_S ‖ p_T), [T]. Gradient without a clip: p_S (log p_S − log p_T − KL) / τ."""
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, temperature, vocabulary
    )
    return sum_entries(kl_entries(log_s_TV, log_t_TV, clip), clip)


def jsd(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    beta: float,
    temperature: float = 1.0,
    clip: Clipping = NO_CLIP,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> Tensor:
    """Return β KL(p_T ‖ m) + (1 − β) KL(p_S ‖ m), [T].

    β = 0 gives forward KL, β = 1 reverse KL. JSD_β(T, S) = JSD_{1−β}(S, T).
    """
    if beta in (0, 1):
        return (reverse_kl if beta else forward_kl)(
            teacher_logits_TV, student_logits_TV, temperature, clip, vocabulary
        )
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, temperature, vocabulary
    )
    log_m_TV = log_mixture(log_t_TV, log_s_TV, beta)
    return sum_entries(
        beta * kl_entries(log_t_TV, log_m_TV, clip)
        + (1 - beta) * kl_entries(log_s_TV, log_m_TV, clip),
        clip,
    )


def skewed_kl(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    alpha: float,
    direction: str = "forward",
    temperature: float = 1.0,
    clip: Clipping = NO_CLIP,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> Tensor:
    """Return KL(p_T ‖ α p_T + (1 − α) p_S), [T], or KL(p_S ‖ α p_S + (1 − α) p_T) if "reverse".

    α = 0 gives the plain KL.
    """
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, temperature, vocabulary
    )
    first_TV, second_TV = (log_t_TV, log_s_TV) if direction == "forward" else (log_s_TV, log_t_TV)
    return sum_entries(kl_entries(first_TV, log_mixture(first_TV, second_TV, alpha), clip), clip)


def adaptive_kl(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    head_mass: float = 0.5,
    temperature: float = 1.0,
    clip: Clipping = NO_CLIP,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> Tensor:
    """Return the AKL, [T].

    Forward KL is weighted by the gap between the two distributions in the teacher's head, reverse
    KL by the gap in the tail. A clip applies to the weighted entries.
    """
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, temperature, vocabulary
    )
    share_T1 = head_gap_share(log_t_TV.exp(), log_s_TV.detach().exp(), head_mass)[:, None]
    return sum_entries(
        share_T1 * kl_entries(log_t_TV, log_s_TV, clip)
        + (1 - share_T1) * kl_entries(log_s_TV, log_t_TV, clip),
        clip,
    )


def divergence_of(
    objective: Divergence, teacher_logits_TV: Tensor, student_logits_TV: Tensor
) -> Tensor:
    """Return the divergence that an objective of the run definition names, [T]."""
    teacher_TV, student_TV = teacher_logits_TV, student_logits_TV
    temperature, clip, vocabulary = objective.temperature, objective.clip, objective.vocabulary
    match objective:
        case ForwardKL():
            return forward_kl(teacher_TV, student_TV, temperature, clip, vocabulary)
        case ReverseKL():
            return reverse_kl(teacher_TV, student_TV, temperature, clip, vocabulary)
        case JSD():
            return jsd(teacher_TV, student_TV, objective.beta, temperature, clip, vocabulary)
        case SkewedKL():
            return skewed_kl(
                teacher_TV,
                student_TV,
                objective.alpha,
                objective.direction,
                temperature,
                clip,
                vocabulary,
            )
        case AdaptiveKL():
            return adaptive_kl(
                teacher_TV, student_TV, objective.head_mass, temperature, clip, vocabulary
            )


def entropy(logits_TV: Tensor, temperature: float = 1.0) -> Tensor:
    """Return −Σ_v p log p of p = softmax(z / τ), [T], in nats; divide by log V for TIP's h."""
    log_p_TV = log_softmax(logits_TV, temperature)
    return -(log_p_TV.exp() * log_p_TV).sum(-1)


def log_softmax(logits_TV: Tensor, temperature: float) -> Tensor:
    """Return log softmax(z / τ) in at least float32.

    In bfloat16 a difference of two of them would be mostly rounding error.
    """
    wide_TV = logits_TV.to(torch.promote_types(logits_TV.dtype, torch.float32))
    return (wide_TV if temperature == 1 else wide_TV / temperature).log_softmax(-1)


def log_distributions(
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
    temperature: float,
    vocabulary: Vocabulary = ALL_LOGITS,
) -> tuple[Tensor, Tensor]:
    """Return log p_T, a constant, and log p_S over the compared tokens.

    Both are [T, V], or with top tokens [T, k] or [T, k + 1].
    """
    log_t_TV, log_s_TV = (
        log_softmax(teacher_logits_TV.detach(), temperature),
        log_softmax(student_logits_TV, temperature),
    )
    ids_TK = top_ids(vocabulary, log_t_TV, log_s_TV.detach())
    if ids_TK is None or isinstance(vocabulary, AllLogits):
        return log_t_TV, log_s_TV
    return restrict(log_t_TV, ids_TK, vocabulary.rest).log_softmax(-1), restrict(
        log_s_TV, ids_TK, vocabulary.rest
    ).log_softmax(-1)


def log_mixture(log_a_TV: Tensor, log_b_TV: Tensor, share: float) -> Tensor:
    """Return log (share · a + (1 − share) · b), share < 1."""
    # math.log refuses 0, for which the mixture is b alone.
    return torch.logaddexp(
        log_a_TV + (math.log(share) if share else -math.inf), log_b_TV + math.log1p(-share)
    )


def kl_entries(log_a_TV: Tensor, log_b_TV: Tensor, clip: Clipping) -> Tensor:
    """Return entries [T, V] whose sum is KL(a ‖ b), in the form that the clip needs."""
    a_TV = log_a_TV.exp()
    entries_TV = a_TV * (log_a_TV - log_b_TV)
    return entries_TV - a_TV + log_b_TV.exp() if needs_nonneg(clip) else entries_TV


def needs_nonneg(clip: Clipping) -> bool:
    return isinstance(clip, Clip) and clip.scope == "entry_nonneg"


def sum_entries(entries_TV: Tensor, clip: Clipping) -> Tensor:
    if isinstance(clip, NoClip):
        return entries_TV.sum(-1)
    if clip.scope != "token":
        return entries_TV.clamp_max(clip.limit).sum(-1)
    total_T = entries_TV.sum(-1)
    return total_T * token_scale(total_T, clip.limit)


def token_scale(total_T: Tensor, limit: float) -> Tensor:
    """Return the constant factor that reduces a token's divergence to at most `limit`, [T]."""
    return limit / total_T.detach().clamp_min(limit)


def head_gap_share(t_TV: Tensor, s_TV: Tensor, mass: float) -> Tensor:
    """Return g_head / (g_head + g_tail), [T]; 0 where the two distributions are equal."""
    gap_TV = (t_TV - s_TV).abs()
    return (gap_TV * teacher_head(t_TV, mass)).sum(-1) / gap_TV.sum(-1).clamp_min(
        torch.finfo(gap_TV.dtype).tiny
    )


def teacher_head(t_TV: Tensor, mass: float) -> Tensor:
    """Return which tokens are the fewest likeliest ones with a total mass of `mass`, bool [T, V].

    In a language model these are few, so a full sort is not needed: topk is computed with a small
    k, which grows by a factor of eight until it is large enough.
    """
    width = k = t_TV.shape[-1]
    k = min(INITIAL_TOP_K, width)
    while True:
        top_TK, ids_TK = t_TV.topk(k)
        before_TK = top_TK.cumsum(-1) - top_TK
        if k == width or bool((before_TK[:, -1] >= mass).all()):
            return torch.zeros_like(t_TV, dtype=torch.bool).scatter(1, ids_TK, before_TK < mass)
        k = min(8 * k, width)

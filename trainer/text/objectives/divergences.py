"""Divergences between the next-token distributions of teacher and student.

With p = softmax(z / τ) of the teacher's (T) and the student's (S) logits z, in nats and without a
factor τ², every divergence is a sum D = Σ_v ℓ(p_T(v), p_S(v)) over the vocabulary. A divergence has
a module of its own that gives its entries ℓ_v. Optionally it also gives the slopes
g_v = ∂ℓ_v / ∂ log p_S(v), from which the gradient with respect to the student's logits is

    ∂D / ∂z_u = (g_u − p_S(u) Σ_v g_v) / τ

and a clipped entry has slope 0. Without hand-written slopes autograd computes them, slower.

Where a distribution is 0 (a logit of −∞), 0 · log 0 is 0: a token that neither model can write adds
nothing. An infinite divergence, such as forward KL where the teacher gives a token probability and
the student none, is refused (`InfiniteDivergence`).

All functions take the **teacher first**. The gradient flows into the student's logits only; the
teacher's and the choice of top tokens are constants. The computation uses at least float32.

`vocabulary` = TopLogits(k, of, rest): both distributions over the k likeliest tokens of teacher or
student. rest="renormalise": over these only. rest="tail": over these and one entry with the mass of
all others.

`clip` = Clip(scope, limit):

    entry          Σ_v min(ℓ_v, limit), as published (OPSD, arXiv 2601.18734). Negative entries are
                   not clipped, so the sum can be negative and a clipped token may have no gradient.
    entry_nonneg   the same on a log(a / b) − a + b instead of a log(a / b): the same sum without a
                   clip, no entry below 0
    token          min(D, limit), by rescaling: above the limit the gradient is (limit / D) ∇D
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.spec import AllLogits, Clip, Divergence, NoClip, TopLogits
from trainer.text.mechanisms import CodeError, code_named, function_of
from trainer.text.objectives.vocabularies import restrict, top_ids

Clipping = NoClip | Clip
Vocabulary = AllLogits | TopLogits
ALL_LOGITS = AllLogits()
EntriesAndSlopes = tuple[Tensor, Tensor]


# log 0, in float64: times any probability it exceeds INFINITE, and sums of several are finite.
LOG_ZERO = -1e300
# Larger divergences have a summand p · LOG_ZERO with p above 0.
INFINITE = 1e100


class InfiniteDivergence(ValueError):
    """The divergence of some token is infinite; the message says which and why."""


class Distributions(NamedTuple):
    """Distributions [T, V] of teacher (t) and student (s), and their logarithms."""

    log_t: Tensor
    log_s: Tensor
    t: Tensor
    s: Tensor


def distributions_of(log_t_TV: Tensor, log_s_TV: Tensor) -> Distributions:
    return Distributions(log_t_TV, log_s_TV, log_t_TV.exp(), log_s_TV.exp())


def divergence_of(
    objective: Divergence, teacher_logits_TV: Tensor, student_logits_TV: Tensor
) -> Tensor:
    """Return the divergence by its definition, [T], not reduced; autograd knows its gradient.

    For small vocabularies, and as the reference of `linear_divergence`.
    """
    log_t_TV, log_s_TV = log_distributions(
        teacher_logits_TV, student_logits_TV, objective.temperature, objective.vocabulary
    )
    divergence_T = sum_entries(_entries(objective, log_t_TV, log_s_TV), objective.clip)
    require_finite(objective, divergence_T, teacher_logits_TV, student_logits_TV)
    return divergence_T.to(at_least_float32(student_logits_TV.dtype))


def divergence_and_gradient(
    objective: Divergence, p: Distributions
) -> tuple[Tensor, Tensor, Tensor]:
    """Return D [T], the clipped share of its entries [T], and ∂D / ∂z_S at temperature 1 [T, V]."""
    entries_TV, slopes_TV = entries_and_slopes(objective, p)
    divergence_T, capped_T = _clip(objective.clip, entries_TV, slopes_TV)
    return divergence_T, capped_T, slopes_TV.sub_(p.s * slopes_TV.sum(-1, keepdim=True))


def entries_and_slopes(objective: Divergence, p: Distributions) -> EntriesAndSlopes:
    """Return ℓ_v and g_v, two new tensors [T, V]."""
    if objective.gradient:
        computed: EntriesAndSlopes = code_named(objective.gradient)(objective, p)
        return computed
    with torch.enable_grad():
        log_s_TV = p.log_s.detach().requires_grad_()
        entries_TV = _entries(objective, p.log_t, log_s_TV)
        if not entries_TV.requires_grad:
            raise CodeError(
                f"{objective.function} returns entries without a gradient, so nothing can be "
                "learnt from them"
            )
        (slopes_TV,) = torch.autograd.grad(entries_TV.sum(), log_s_TV)
    return entries_TV.detach(), slopes_TV


def _entries(objective: Divergence, log_t_TV: Tensor, log_s_TV: Tensor) -> Tensor:
    """Return ℓ_v [T, V] by definition. Raises CodeError for another shape."""
    entries_TV: Tensor = function_of(objective)(objective, log_t_TV, log_s_TV)
    if entries_TV.shape != log_s_TV.shape:
        raise CodeError(
            f"{objective.function} returns entries of shape {list(entries_TV.shape)} for "
            f"log-probs of shape {list(log_s_TV.shape)}; return one entry for each log-prob"
        )
    return entries_TV


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def log_probabilities(
    teacher_logits_TV: Tensor, student_logits_TV: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return log softmax(z / τ) of both, in at least float32.

    If a logit is −∞, in float64 with LOG_ZERO in the place of log 0, so that 0 · log 0 is 0.
    """
    if not (teacher_logits_TV.isneginf().any() or student_logits_TV.isneginf().any()):
        return log_softmax(teacher_logits_TV, temperature), log_softmax(
            student_logits_TV, temperature
        )
    return (
        log_softmax(teacher_logits_TV.double(), temperature).clamp_min(LOG_ZERO),
        log_softmax(student_logits_TV.double(), temperature).clamp_min(LOG_ZERO),
    )


def require_finite(
    objective: Divergence,
    divergence_T: Tensor,
    teacher_logits_TV: Tensor,
    student_logits_TV: Tensor,
) -> None:
    """Raise InfiniteDivergence if D [T] has the summand of a probability times log 0."""
    # Only in float64 is LOG_ZERO in use, unless the models compute in it themselves.
    if divergence_T.dtype != torch.float64 or not (divergence_T > INFINITE).any():
        return
    token = int(divergence_T.argmax())
    logits = {"teacher": teacher_logits_TV[token], "student": student_logits_TV[token]}
    sentences = []
    for one, other in (("teacher", "student"), ("student", "teacher")):
        probability_V = logits[one].detach().double().softmax(-1)
        mass_V = probability_V.masked_fill(~logits[other].isneginf(), 0)
        if mass_V.any():
            id = int(mass_V.argmax())
            sentences.append(
                f"the {one} gives token {id} the probability {float(mass_V[id]):.2g}, the {other} "
                "none (its logit is −∞)"
            )
    raise InfiniteDivergence(f"{objective.kind} is infinite: {'; '.join(sentences)}")


def log_softmax(logits_TV: Tensor, temperature: float) -> Tensor:
    """Return log softmax(z / τ) in at least float32.

    In bfloat16 a difference of two of them would be mostly rounding error.
    """
    wide_TV = logits_TV.to(at_least_float32(logits_TV.dtype))
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
    log_t_TV, log_s_TV = log_probabilities(
        teacher_logits_TV.detach(), student_logits_TV, temperature
    )
    ids_TK = top_ids(vocabulary, log_t_TV, log_s_TV.detach())
    if ids_TK is None or isinstance(vocabulary, AllLogits):
        return log_t_TV, log_s_TV
    return normalised(restrict(log_t_TV, ids_TK, vocabulary.rest)), normalised(
        restrict(log_s_TV, ids_TK, vocabulary.rest)
    )


def normalised(restricted_TK: Tensor) -> Tensor:
    """Return log softmax; a row whose tokens all have probability 0 keeps LOG_ZERO."""
    log_TK = restricted_TK.log_softmax(-1)
    # LOG_ZERO is in use in float64 only.
    if log_TK.dtype != torch.float64:
        return log_TK
    return log_TK.masked_fill(restricted_TK.amax(-1, keepdim=True) <= LOG_ZERO, LOG_ZERO)


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


def _clip(clip: NoClip | Clip, entries_TV: Tensor, slopes_TV: Tensor) -> tuple[Tensor, Tensor]:
    """Return the clipped sum [T] and the clipped share of the entries [T].

    The slopes are set to 0 or rescaled in place.
    """
    total_T = entries_TV.sum(-1)
    if isinstance(clip, NoClip):
        return total_T, torch.zeros_like(total_T)
    if clip.scope == "token":
        scale_T = token_scale(total_T, clip.limit)
        slopes_TV.mul_(scale_T[:, None])
        return total_T * scale_T, (total_T > clip.limit).to(total_T)
    clipped_TV = entries_TV > clip.limit
    slopes_TV.masked_fill_(clipped_TV, 0)
    return entries_TV.clamp_max(clip.limit).sum(-1), clipped_TV.to(total_T).mean(-1)

"""LM head, divergence and its gradient in one pass over chunks of tokens, so that no [tokens ×
vocabulary] tensor of a batch exists.

The loss is Σ_t c_t · D_t with coefficients c known beforehand, hence its gradient with respect to
hidden states and head can be formed while the logits of a chunk are at hand, in the forward pass;
the backward pass only multiplies by the incoming scalar. The gradients with respect to the logits
are those of `slopes`.

Only tokens that are handed in are computed: to leave tokens out, index hidden states, coefficients
and ids first and let the teacher's logits be those of the same tokens. The gradient is that of a
coefficient 0, and work falls in proportion. Peak memory hardly does, because it does not grow with
tokens in the first place: chunking takes away the memory that TIP (arXiv 2604.14084) saves by
selection.

Peak memory above the inputs: the head's gradient, the hidden states' gradient, two [chunk ×
vocabulary] buffers (logits of the teacher; logits of the student, overwritten by their gradient)
and the temporaries of a few rows. Shapes: T tokens, C tokens of a chunk, R rows of a chunk at a
time, H hidden, V vocabulary in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.spec.objectives import AllLogits, Divergence
from trainer.text.language.heads import Head
from trainer.text.objectives.chunks import Gradients, at_least_float32, chunks, tokens_per_chunk
from trainer.text.objectives.divergence_gradients import Laws, divergence_and_gradient, laws_of
from trainer.text.objectives.divergences import log_softmax
from trainer.text.objectives.vocabularies import expand, restrict, top_ids

TeacherLogits = Callable[[slice], Tensor]

# Entries of one temporary on a CPU, where few rows at a time stay in its cache. A GPU is faster
# with all rows of a chunk at once.
CACHED_ENTRIES = 1 << 19


@dataclass(frozen=True)
class TokenStatistics:
    """What is known about each token of a divergence, detached, [T] each, at the objective's
    temperature, in nats.

    `divergence` D, clipped if the objective clips; the student's `entropy`; log-probs that student
    and teacher give to the token that was written; the ids that each of them finds likeliest;
    `capped`, the share of D's entries that were cut (0 without a clip; of a clip of whole tokens 0
    or 1). All but `divergence` and `capped` are over the whole vocabulary.
    """

    divergence: Tensor
    entropy: Tensor
    student_logprob: Tensor
    teacher_logprob: Tensor
    student_top: Tensor
    teacher_top: Tensor
    capped: Tensor


@dataclass(frozen=True)
class TokenScores:
    """What decides which tokens are learnt from, detached, [T] each, in nats, over the whole
    vocabulary.

    The student's `entropy`; `reverse_kl` KL(p_S ‖ p_T) and `forward_kl` KL(p_T ‖ p_S), not below 0;
    log-probs of the written token; ids that each finds likeliest.
    """

    entropy: Tensor
    reverse_kl: Tensor
    forward_kl: Tensor
    student_logprob: Tensor
    teacher_logprob: Tensor
    student_top: Tensor
    teacher_top: Tensor

    @property
    def divergence(self) -> Tensor:
        """What pages show of a token that was scored: the reverse KL."""
        return self.reverse_kl


class Teaching(NamedTuple):
    """What a chunk is compared with: teacher's logits by slice [C, ≥V], coefficients [T], ids that
    were written [T].
    """

    logits: TeacherLogits
    coefficients: Tensor
    ids: Tensor
    objective: Divergence
    vocabulary: int
    chunk: int


def linear_divergence(
    hidden_TH: Tensor,
    head: Head,
    teacher_logits: TeacherLogits,
    coefficients_T: Tensor,
    ids_T: Tensor,
    objective: Divergence,
    *,
    vocabulary: int,
    chunk: int | None = None,
) -> tuple[Tensor, TokenStatistics]:
    """Σ_t c_t · D_t as a scalar that can be differentiated once with respect to hidden states and
    head, and the statistics of each token.

    `objective` names divergence, temperature, clip and the tokens of the vocabulary that are
    compared, as `divergences` defines them. `teacher_logits(tokens)` gives the teacher's logits of
    a slice of the tokens; both models' logits are cut to the shared `vocabulary` before softmax.
    Computed in float32 at least; float64 stays float64. `chunk` tokens at a time (default: what
    fits a buffer of about 39 MB in float32). No tokens (T = 0) give a loss of 0 and gradients of 0.
    """
    teaching = Teaching(
        teacher_logits,
        coefficients_T,
        ids_T,
        objective,
        vocabulary,
        chunk or tokens_per_chunk(vocabulary),
    )
    with torch.autocast(
        hidden_TH.device.type, enabled=False
    ):  # a divergence of bfloat16 logits would be mostly rounding
        hidden_TH = hidden_TH.to(head.weight.dtype)
        loss, *statistics = LinearDivergence.apply(
            hidden_TH, head.weight, head.bias, teaching, torch.is_grad_enabled()
        )
    return loss, TokenStatistics(*statistics)


@torch.no_grad()
def score_tokens(
    hidden_TH: Tensor,
    head: Head,
    teacher_logits: TeacherLogits,
    ids_T: Tensor,
    *,
    vocabulary: int,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> TokenScores:
    """Both directions of the KL at once, without clip or gradient, in chunks. Arguments as of
    `linear_divergence`.
    """
    scores = TokenScores(*_columns(TokenScores, hidden_TH, head))
    with torch.autocast(hidden_TH.device.type, enabled=False):
        for tokens in chunks(len(hidden_TH), chunk or tokens_per_chunk(vocabulary)):
            student_CV, teacher_CV = _both(
                head, hidden_TH[tokens], teacher_logits, tokens, vocabulary
            )
            for rows, positions in _rows(tokens, student_CV):
                _fill(
                    scores,
                    positions,
                    _score(student_CV[rows], teacher_CV[rows], ids_T[positions], temperature),
                )
    return scores


class LinearDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_TH: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        teaching: Teaching,
        differentiate: bool,
    ) -> Any:
        head = Head(weight, bias)
        needs_gradient = [differentiate and needed for needed in ctx.needs_input_grad[:3]]
        gradients = Gradients(hidden_TH, head, needs_gradient) if any(needs_gradient) else None
        columns = _columns(TokenStatistics, hidden_TH, head)
        statistics = TokenStatistics(*columns)
        for tokens in chunks(len(hidden_TH), teaching.chunk):
            student_CV, teacher_CV = _both(
                head, hidden_TH[tokens], teaching.logits, tokens, teaching.vocabulary
            )
            for rows, positions in _rows(tokens, student_CV):
                _fill(
                    statistics,
                    positions,
                    _differentiate(student_CV[rows], teacher_CV[rows], positions, teaching),
                )
            if gradients is not None:
                gradients.add(tokens, hidden_TH[tokens], student_CV)
        ctx.gradients = gradients
        ctx.dtypes = hidden_TH.dtype, weight.dtype
        ctx.mark_non_differentiable(*columns)
        return (
            teaching.coefficients.to(statistics.divergence) * statistics.divergence
        ).sum(), *columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> Any:
        gradients: Gradients | None = ctx.gradients
        if gradients is None:
            raise RuntimeError(
                "This divergence was differentiated before, or computed without gradients; "
                "compute it again."
            )
        # Handed over, not kept: a second owner would make autograd copy a gradient of the head's
        # size.
        ctx.gradients = None
        hidden, weight, bias = (
            gradient if gradient is None else gradient.mul_(scale)
            for gradient in (gradients.hidden, gradients.weight, gradients.bias)
        )
        _, weight_dtype = ctx.dtypes
        return (
            hidden,
            None if weight is None else weight.to(weight_dtype),
            None if bias is None else bias.to(weight_dtype),
            None,
            None,
        )


def _columns(
    kind: type[TokenStatistics] | type[TokenScores], hidden_TH: Tensor, head: Head
) -> list[Tensor]:
    """A column [T] for each field, to be filled.

    Made before the temporaries: small tensors that outlive large ones keep the allocator from
    joining what the large ones leave.
    """
    wide = at_least_float32(head.weight.dtype)
    dtypes = [torch.long if field.name.endswith("_top") else wide for field in fields(kind)]
    return [torch.empty(len(hidden_TH), dtype=dtype, device=hidden_TH.device) for dtype in dtypes]


def _fill(
    columns: TokenStatistics | TokenScores, positions: slice, values: Sequence[Tensor]
) -> None:
    for field, value in zip(fields(columns), values, strict=True):
        getattr(columns, field.name)[positions] = value


def _both(
    head: Head, hidden_CH: Tensor, teacher_logits: TeacherLogits, tokens: slice, vocabulary: int
) -> tuple[Tensor, Tensor]:
    """Logits [C, V] of student, a tensor of our own in float32 at least, and teacher."""
    student_CV = head.logits(hidden_CH, vocabulary)
    student_CV = student_CV.to(at_least_float32(student_CV.dtype))
    return student_CV, teacher_logits(tokens)[:, :vocabulary].to(student_CV.device)


def _token_laws(
    student_RV: Tensor, teacher_RV: Tensor, ids_R: Tensor, temperature: float
) -> tuple[Laws, list[Tensor]]:
    """Distributions over the whole vocabulary, and what they say: entropy, log-probs of the written
    ids, likeliest ids.
    """
    laws = laws_of(log_softmax(teacher_RV, temperature), log_softmax(student_RV, temperature))
    log_probs = [log_RV.gather(1, ids_R[:, None])[:, 0] for log_RV in (laws.log_s, laws.log_t)]
    return laws, [
        -(laws.s * laws.log_s).sum(-1),
        *log_probs,
        laws.log_s.argmax(-1),
        laws.log_t.argmax(-1),
    ]


def _rows(tokens: slice, logits_CV: Tensor) -> Iterator[tuple[slice, slice]]:
    """A chunk's rows, few at a time on a CPU: their place in the chunk and among all tokens."""
    count, width = logits_CV.shape
    few = max(1, CACHED_ENTRIES // width) if logits_CV.device.type == "cpu" else max(1, count)
    return (
        (rows, slice(tokens.start + rows.start, tokens.start + rows.stop))
        for rows in chunks(count, few)
    )


def _differentiate(
    student_RV: Tensor, teacher_RV: Tensor, positions: slice, teaching: Teaching
) -> list[Tensor]:
    """Statistics of some tokens; their logits of the student are overwritten by the gradient of Σ
    c·D with respect to them.
    """
    objective = teaching.objective
    laws, statistics = _token_laws(
        student_RV, teacher_RV, teaching.ids[positions], objective.temperature
    )
    divergence_R, capped_R, gradient_RV = _over_vocabulary(objective, laws)
    scale_R = teaching.coefficients[positions].to(student_RV) / objective.temperature
    torch.mul(gradient_RV, scale_R[:, None], out=student_RV)
    return [divergence_R, *statistics, capped_R]


def _score(
    student_RV: Tensor, teacher_RV: Tensor, ids_R: Tensor, temperature: float
) -> list[Tensor]:
    laws, (entropy_R, *statistics) = _token_laws(student_RV, teacher_RV, ids_R, temperature)
    difference_RV = laws.log_s - laws.log_t
    reverse_R, forward_R = (laws.s * difference_RV).sum(-1), -(laws.t * difference_RV).sum(-1)
    return [entropy_R, reverse_R.clamp_min_(0), forward_R.clamp_min_(0), *statistics]


def _over_vocabulary(objective: Divergence, laws: Laws) -> tuple[Tensor, Tensor, Tensor]:
    """`divergence_and_gradient` over the tokens that are compared, with the gradient brought back
    to the whole vocabulary.
    """
    ids_RK = top_ids(objective.vocabulary, laws.log_t, laws.log_s)
    if ids_RK is None or isinstance(objective.vocabulary, AllLogits):
        return divergence_and_gradient(objective, laws)
    tail_mode = objective.vocabulary.rest
    log_t_RK, log_s_RK = (
        restrict(laws.log_t, ids_RK, tail_mode),
        restrict(laws.log_s, ids_RK, tail_mode),
    )
    divergence_R, capped_R, gradient_RK = divergence_and_gradient(
        objective, laws_of(log_t_RK.log_softmax(-1), log_s_RK.log_softmax(-1))
    )
    return divergence_R, capped_R, expand(gradient_RK, laws.log_s, log_s_RK, ids_RK, tail_mode)

"""LM head, divergence and gradient in one pass over chunks of tokens.

No [tokens × vocabulary] tensor of a whole batch exists. The loss is Σ_t c_t · D_t with coefficients
c that are known before the forward pass. So the gradient with respect to hidden states and head can
be computed in the forward pass, while the logits of a chunk exist; the backward pass only
multiplies by the incoming scalar. `divergences` computes the gradients with respect to the
logits.

Only the given tokens are computed: to leave tokens out, index hidden states, coefficients and ids
first, and give the teacher's logits of the same tokens. The gradient is that of a coefficient 0,
and the computation is proportionally smaller. Peak memory hardly changes, because it does not grow
with the number of tokens: chunking already saves the memory that TIP (arXiv 2604.14084) saves by
selection.

Peak memory beyond the inputs: the head's gradient, the hidden states' gradient, two [chunk ×
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

from trainer.spec import AllLogits, Divergence
from trainer.text.language.heads import Head
from trainer.text.lm_head.chunks import Gradients, chunks, tokens_per_chunk
from trainer.text.objectives.divergences import (
    Distributions,
    at_least_float32,
    distributions_of,
    divergence_and_gradient,
    log_probabilities,
    normalised,
    require_finite,
)
from trainer.text.objectives.vocabularies import expand, restrict, top_ids

TeacherLogits = Callable[[slice], Tensor]

# Entries of one temporary on a CPU, where few rows at a time stay in its cache. A GPU is faster
# with all rows of a chunk at once.
CACHED_ENTRIES = 1 << 19


@dataclass(frozen=True)
class TokenStatistics:
    """Statistics of each token, detached, [T] each, at the objective's temperature, in nats.

        divergence        D, clipped if the objective clips
        entropy           of the student
        student_logprob   log-prob of the written token by the student
        teacher_logprob   and by the teacher
        student_top       the student's likeliest id
        teacher_top       the teacher's likeliest id
        capped            share of D's entries that were clipped: 0 without a clip, 0 or 1 if the
                          clip is per token

    All but `divergence` and `capped` are over the whole vocabulary.
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
    """Scores that decide which tokens are trained on, detached, [T] each, in nats.

    All are over the whole vocabulary: the student's `entropy`; `reverse_kl` KL(p_S ‖ p_T) and
    `forward_kl` KL(p_T ‖ p_S), never below 0; log-probs of the written token; likeliest ids.
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
        """The reverse KL, which pages show for a scored token."""
        return self.reverse_kl


class DivergenceInputs(NamedTuple):
    """Everything of a divergence that has no gradient.

    `logits` gives the teacher's logits of a slice of tokens, [C, ≥V]; `coefficients` and written
    `ids` are [T].
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
    """Return Σ_t c_t · D_t and the statistics of each token.

    The sum is a scalar that can be differentiated once, with respect to hidden states and head.
    `objective` names divergence, temperature, clip and the compared tokens of the vocabulary, as
    defined in `divergences`. `teacher_logits(tokens)` returns the teacher's logits of a slice of
    the tokens; both models' logits are cut to the shared `vocabulary` before softmax. The
    computation uses at least float32; float64 stays float64. `chunk` is the number of tokens at a
    time (default: what fits a buffer of about 39 MB in float32). Without tokens (T = 0) loss and
    gradients are 0.
    """
    inputs = DivergenceInputs(
        teacher_logits,
        coefficients_T,
        ids_T,
        objective,
        vocabulary,
        chunk or tokens_per_chunk(vocabulary),
    )
    # A divergence of bfloat16 logits would be mostly rounding error.
    with torch.autocast(hidden_TH.device.type, enabled=False):
        hidden_TH = hidden_TH.to(head.weight.dtype)
        # Whether gradients are enabled is asked here: inside `forward` they never are.
        loss, *statistics = LinearDivergence.apply(
            hidden_TH, head.weight, head.bias, inputs, torch.is_grad_enabled()
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
    """Return both directions of the KL, without clip or gradient, computed in chunks.

    The arguments are those of `linear_divergence`.
    """
    scores = TokenScores(*_columns(TokenScores, hidden_TH, head))
    with torch.autocast(hidden_TH.device.type, enabled=False):
        for tokens in chunks(len(hidden_TH), chunk or tokens_per_chunk(vocabulary)):
            student_CV, teacher_CV = _chunk_logits(
                head, hidden_TH[tokens], teacher_logits, tokens, vocabulary
            )
            for rows, positions in _row_slices(tokens, student_CV):
                _store(
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
        inputs: DivergenceInputs,
        differentiate: bool,
    ) -> Any:
        head = Head(weight, bias)
        needs_gradient = [differentiate and needed for needed in ctx.needs_input_grad[:3]]
        gradients = Gradients(hidden_TH, head, needs_gradient) if any(needs_gradient) else None
        columns = _columns(TokenStatistics, hidden_TH, head)
        statistics = TokenStatistics(*columns)
        for tokens in chunks(len(hidden_TH), inputs.chunk):
            student_CV, teacher_CV = _chunk_logits(
                head, hidden_TH[tokens], inputs.logits, tokens, inputs.vocabulary
            )
            for rows, positions in _row_slices(tokens, student_CV):
                _store(
                    statistics,
                    positions,
                    _differentiate(student_CV[rows], teacher_CV[rows], positions, inputs),
                )
            if gradients is not None:
                gradients.add(tokens, hidden_TH[tokens], student_CV)
        ctx.gradients = gradients
        ctx.dtypes = hidden_TH.dtype, weight.dtype
        ctx.mark_non_differentiable(*columns)
        return (
            inputs.coefficients.to(statistics.divergence) * statistics.divergence
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
        # No reference is kept: with a second owner, autograd would copy a gradient of the head's
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
    """Return an empty column [T] for each field.

    They are allocated before the temporaries: small tensors that outlive large ones keep the
    allocator from merging the memory that the large ones free.
    """
    wide = at_least_float32(head.weight.dtype)
    dtypes = [torch.long if field.name.endswith("_top") else wide for field in fields(kind)]
    return [torch.empty(len(hidden_TH), dtype=dtype, device=hidden_TH.device) for dtype in dtypes]


def _store(
    columns: TokenStatistics | TokenScores, positions: slice, values: Sequence[Tensor]
) -> None:
    for field, value in zip(fields(columns), values, strict=True):
        getattr(columns, field.name)[positions] = value


def _chunk_logits(
    head: Head, hidden_CH: Tensor, teacher_logits: TeacherLogits, tokens: slice, vocabulary: int
) -> tuple[Tensor, Tensor]:
    """Return logits [C, V] of the student, a new tensor of at least float32, and of the teacher."""
    student_CV = head.logits(hidden_CH, vocabulary)
    student_CV = student_CV.to(at_least_float32(student_CV.dtype))
    return student_CV, teacher_logits(tokens)[:, :vocabulary].to(student_CV.device)


def _token_distributions(
    student_RV: Tensor, teacher_RV: Tensor, ids_R: Tensor, temperature: float
) -> tuple[Distributions, list[Tensor]]:
    """Return the distributions over the whole vocabulary and their statistics.

    The statistics are the entropy, the log-probs of the written ids, and the likeliest ids.
    """
    p = distributions_of(*log_probabilities(teacher_RV, student_RV, temperature))
    log_probs = [log_RV.gather(1, ids_R[:, None])[:, 0] for log_RV in (p.log_s, p.log_t)]
    return p, [
        -(p.s * p.log_s).sum(-1),
        *log_probs,
        p.log_s.argmax(-1),
        p.log_t.argmax(-1),
    ]


def _row_slices(tokens: slice, logits_CV: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield a chunk's rows, few at a time on a CPU: a slice of the chunk and one of all tokens."""
    count, width = logits_CV.shape
    row_count = max(1, CACHED_ENTRIES // width) if logits_CV.device.type == "cpu" else max(1, count)
    return (
        (rows, slice(tokens.start + rows.start, tokens.start + rows.stop))
        for rows in chunks(count, row_count)
    )


def _differentiate(
    student_RV: Tensor, teacher_RV: Tensor, positions: slice, inputs: DivergenceInputs
) -> list[Tensor]:
    """Return statistics of some tokens; overwrite their student logits by the gradient of Σ c·D."""
    objective = inputs.objective
    p, statistics = _token_distributions(
        student_RV, teacher_RV, inputs.ids[positions], objective.temperature
    )
    divergence_R, capped_R, gradient_RV = _over_vocabulary(objective, p)
    require_finite(objective, divergence_R, teacher_RV, student_RV)
    scale_R = inputs.coefficients[positions].to(student_RV) / objective.temperature
    # Into the logits, which are not needed any more: a chunk has no third [C, V] buffer.
    torch.mul(gradient_RV, scale_R[:, None], out=student_RV)
    return [divergence_R, *statistics, capped_R]


def _score(
    student_RV: Tensor, teacher_RV: Tensor, ids_R: Tensor, temperature: float
) -> list[Tensor]:
    p, (entropy_R, *statistics) = _token_distributions(student_RV, teacher_RV, ids_R, temperature)
    difference_RV = p.log_s - p.log_t
    reverse_R, forward_R = (p.s * difference_RV).sum(-1), -(p.t * difference_RV).sum(-1)
    return [entropy_R, reverse_R.clamp_min_(0), forward_R.clamp_min_(0), *statistics]


def _over_vocabulary(objective: Divergence, p: Distributions) -> tuple[Tensor, Tensor, Tensor]:
    """Return `divergence_and_gradient` of the compared tokens.

    The gradient is over the whole vocabulary.
    """
    ids_RK = top_ids(objective.vocabulary, p.log_t, p.log_s)
    if ids_RK is None or isinstance(objective.vocabulary, AllLogits):
        return divergence_and_gradient(objective, p)
    tail_mode = objective.vocabulary.rest
    log_t_RK, log_s_RK = (
        restrict(p.log_t, ids_RK, tail_mode),
        restrict(p.log_s, ids_RK, tail_mode),
    )
    divergence_R, capped_R, gradient_RK = divergence_and_gradient(
        objective, distributions_of(normalised(log_t_RK), normalised(log_s_RK))
    )
    return divergence_R, capped_R, expand(gradient_RK, p.log_s, log_s_RK, ids_RK, tail_mode)

"""LM head, divergence and its gradient in one pass over chunks of tokens, so that no [tokens × vocabulary] tensor of a batch exists.

The loss is Σ_t c_t · D_t with coefficients c known beforehand, hence its gradient with respect to hidden states and head can be
formed while the logits of a chunk are at hand, in the forward pass; the backward pass only multiplies by the incoming scalar.
With p = softmax(z / τ) of teacher (T) and student (S), the gradients of D with respect to the student's logits are

    forward KL   (p_S − p_T) / τ                                reverse KL   p_S · (log p_S − log p_T − D) / τ

Peak memory above the inputs: the head's gradient, the hidden states' gradient and four [chunk × vocabulary] buffers.
Shapes: T tokens, C tokens of a chunk, H hidden, V vocabulary in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.text.heads import Head

Kind = Literal["forward_kl", "reverse_kl"]
TeacherLogits = Callable[[slice], Tensor]

# Entries of one [chunk × vocabulary] buffer: 64 tokens of a vocabulary of 152 thousand.
BUFFER_ENTRIES = 64 * 152_064


@dataclass(frozen=True)
class TokenStatistics:
    """What is known about each scored token, detached, [T] each, at the objective's temperature, in nats.

    `divergence` and the student's `entropy`; log-probs that student and teacher give to the token that was written; the ids that each
    of them finds likeliest.
    """

    divergence: Tensor
    entropy: Tensor
    student_logprob: Tensor
    teacher_logprob: Tensor
    student_top: Tensor
    teacher_top: Tensor


class Teaching(NamedTuple):
    """What a chunk is compared with: teacher's logits by slice [C, ≥V], coefficients [T], ids that were written [T]."""

    logits: TeacherLogits
    coefficients: Tensor
    ids: Tensor
    kind: Kind
    temperature: float
    vocabulary: int
    chunk: int


def linear_divergence(
    hidden_TH: Tensor,
    head: Head,
    teacher_logits: TeacherLogits,
    coefficients_T: Tensor,
    ids_T: Tensor,
    kind: Kind,
    *,
    vocabulary: int,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Tensor, TokenStatistics]:
    """Σ_t c_t · D_t as a scalar that can be differentiated once, and the statistics of each token.

    `teacher_logits(tokens)` gives the teacher's logits of a slice of the tokens; both models' logits are cut to the shared
    `vocabulary` before softmax. Computed in float32 at least; float64 stays float64. `chunk` tokens at a time (default: what fits
    a buffer of about 39 MB in float32).
    """
    teaching = Teaching(teacher_logits, coefficients_T, ids_T, kind, temperature, vocabulary, chunk or tokens_per_chunk(vocabulary))
    with torch.autocast(hidden_TH.device.type, enabled=False):  # a divergence of bfloat16 logits would be mostly rounding
        hidden_TH = hidden_TH.to(head.weight.dtype)
        loss, *statistics = LinearDivergence.apply(hidden_TH, head.weight, head.bias, teaching, torch.is_grad_enabled())
    return loss, TokenStatistics(*statistics)


def tokens_per_chunk(vocabulary: int) -> int:
    return max(16, BUFFER_ENTRIES // vocabulary)


def chunks(tokens: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, tokens)) for start in range(0, tokens, chunk))


class Gradients:
    """Sums of the gradients of hidden states and head, each only if wanted."""

    def __init__(self, hidden_TH: Tensor, head: Head, wanted: Sequence[bool]) -> None:
        self.head = head
        wide = _at_least_float32(hidden_TH.dtype)
        self.hidden = torch.empty_like(hidden_TH) if wanted[0] else None
        self.weight = torch.zeros_like(head.weight, dtype=wide) if wanted[1] else None
        self.bias = torch.zeros_like(head.bias, dtype=wide) if wanted[2] and head.bias is not None else None

    def add(self, tokens: slice, hidden_CH: Tensor, logits_gradient_CV: Tensor) -> None:
        vocabulary = logits_gradient_CV.shape[-1]
        narrow_CV = logits_gradient_CV.to(hidden_CH.dtype)
        if self.hidden is not None:
            torch.mm(narrow_CV, self.head.weight[:vocabulary], out=self.hidden[tokens])
        if self.weight is not None:
            self.weight[:vocabulary].addmm_(logits_gradient_CV.T, hidden_CH.to(logits_gradient_CV.dtype))
        if self.bias is not None:
            self.bias[:vocabulary] += logits_gradient_CV.sum(0)


class LinearDivergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_TH: Tensor, weight: Tensor, bias: Tensor | None, teaching: Teaching, differentiate: bool) -> Any:
        head = Head(weight, bias)
        wanted = [differentiate and needed for needed in ctx.needs_input_grad[:3]]
        gradients = Gradients(hidden_TH, head, wanted) if any(wanted) else None
        parts = []
        for tokens in chunks(len(hidden_TH), teaching.chunk):
            statistics, logits_gradient_CV = _chunk(head, hidden_TH[tokens], tokens, teaching, gradients is not None)
            parts.append(statistics)
            if gradients is not None and logits_gradient_CV is not None:
                gradients.add(tokens, hidden_TH[tokens], logits_gradient_CV)
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        ctx.gradients = gradients
        ctx.dtypes = hidden_TH.dtype, weight.dtype
        ctx.mark_non_differentiable(*columns)
        return (teaching.coefficients.to(columns[0]) * columns[0]).sum(), *columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> Any:
        gradients: Gradients | None = ctx.gradients
        if gradients is None:
            raise RuntimeError("This divergence was differentiated before, or computed without gradients; compute it again.")
        # Handed over, not kept: a second owner would make autograd copy a gradient of the head's size.
        ctx.gradients = None
        hidden, weight, bias = (part if part is None else part.mul_(scale) for part in (gradients.hidden, gradients.weight, gradients.bias))
        _, weight_dtype = ctx.dtypes
        return hidden, None if weight is None else weight.to(weight_dtype), None if bias is None else bias.to(weight_dtype), None, None


def _chunk(head: Head, hidden_CH: Tensor, tokens: slice, teaching: Teaching, differentiate: bool) -> tuple[list[Tensor], Tensor | None]:
    """Statistics of a chunk, and the gradient of Σ c·D with respect to its logits [C, V]."""
    log_s_CV = _log_softmax(head.logits(hidden_CH, teaching.vocabulary), teaching.temperature)
    log_t_CV = _log_softmax(teaching.logits(tokens)[:, : teaching.vocabulary].to(log_s_CV.device), teaching.temperature)
    ids_C1 = teaching.ids[tokens, None]
    written = [log_CV.gather(1, ids_C1)[:, 0] for log_CV in (log_s_CV, log_t_CV)]
    likeliest = [log_CV.argmax(-1) for log_CV in (log_s_CV, log_t_CV)]
    s_CV = log_s_CV.exp()
    entropy_C = -_row_dot(s_CV, log_s_CV)
    if teaching.kind == "forward_kl":
        t_CV = log_t_CV.exp()
        divergence_C = _row_dot(t_CV, log_t_CV.sub_(log_s_CV))
        gradient_CV = s_CV.sub_(t_CV)
    else:
        log_s_CV.sub_(log_t_CV)
        divergence_C = _row_dot(s_CV, log_s_CV)
        gradient_CV = s_CV.mul_(log_s_CV.sub_(divergence_C[:, None])) if differentiate else s_CV
    if differentiate:
        gradient_CV.mul_((teaching.coefficients[tokens].to(gradient_CV) / teaching.temperature)[:, None])
    return [divergence_C, entropy_C, *written, *likeliest], gradient_CV if differentiate else None


def _log_softmax(logits_CV: Tensor, temperature: float) -> Tensor:
    wide_CV = logits_CV.to(_at_least_float32(logits_CV.dtype))
    return (wide_CV if temperature == 1 else wide_CV / temperature).log_softmax(-1)


def _row_dot(first_CV: Tensor, second_CV: Tensor) -> Tensor:
    """Σ_v of the products, without a tensor of the products."""
    return torch.bmm(first_CV[:, None], second_CV[:, :, None])[:, 0, 0]


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)

"""Random inputs of the LM-head operators, and a float64 reference through full logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from trainer.spec import Divergence
from trainer.text.language.heads import Head
from trainer.text.lm_head.linear_divergence import TokenStatistics, linear_divergence
from trainer.text.objectives.divergences import divergence_of


@dataclass
class Case:
    """Random hidden states, head, teacher logits, coefficients and written ids.

    The head may be wider than the vocabulary, and some coefficients are 0.
    """

    hidden: Tensor
    head: Head
    teacher: Tensor
    coefficients: Tensor
    ids: Tensor
    vocabulary: int

    def tensors(self) -> list[Tensor]:
        return [tensor for tensor in (self.hidden, *self.head[:2]) if tensor is not None]

    def run(
        self, objective: Divergence, chunk: int | None = None
    ) -> tuple[Tensor, TokenStatistics]:
        teacher = self.teacher
        return linear_divergence(
            self.hidden,
            self.head,
            lambda tokens: teacher[tokens],
            self.coefficients,
            self.ids,
            objective,
            vocabulary=self.vocabulary,
            chunk=chunk,
        )

    def reference(self, objective: Divergence) -> tuple[Tensor, Tensor]:
        """Loss and per-token divergence by autograd through full logits in float64."""
        tokens = divergence_of(objective, self.teacher_logits(), self.full_logits())
        return (self.coefficients * tokens).sum(), tokens

    def teacher_logits(self) -> Tensor:
        return self.teacher[:, : self.vocabulary].double()

    def full_logits(self) -> Tensor:
        bias = None if self.head.bias is None else self.head.bias.double()[: self.vocabulary]
        return torch.nn.functional.linear(
            self.hidden.double(), self.head.weight.double()[: self.vocabulary], bias
        )


def case(
    seed: int = 0,
    tokens: int = 13,
    width: int = 6,
    vocabulary: int = 17,
    padding: int = 3,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    coefficients = torch.rand(tokens, generator=generator, dtype=torch.float64) * (
        torch.rand(tokens, generator=generator) > 0.3
    )
    head = Head(
        normal(vocabulary + padding, width).requires_grad_(),
        normal(vocabulary + padding).requires_grad_() if bias else None,
    )
    ids = torch.randint(0, vocabulary, (tokens,), generator=generator)
    teacher = normal(tokens, vocabulary + 2 * padding, scale=3.0)
    return Case(
        normal(tokens, width).requires_grad_(), head, teacher, coefficients, ids, vocabulary
    )


cases = st.builds(
    case,
    st.integers(0, 2**31),
    st.integers(0, 20),
    st.integers(1, 8),
    st.integers(2, 30),
    st.integers(0, 4),
    st.booleans(),
)

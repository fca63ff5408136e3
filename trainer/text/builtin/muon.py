"""Muon in fp32: momentum whose matrices are made near-orthogonal before each step.

O ≈ U Vᵀ of M = U S Vᵀ by five Newton–Schulz steps X ← aX + (b A + c A²)X with A = X Xᵀ; W ← W − η
√max(1, rows/columns) O. Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural
networks" (2024). `torch.optim.Muon` computes the same in bfloat16, which is some ten times slower
on a CPU without such instructions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions: `lr` is η, `momentum` is Nesterov's."""

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                # Nesterov: the gradient is mixed into the mean once more for the step itself.
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(mean, group["momentum"]))
                weight.add_(
                    update, alpha=-group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                )


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix [rows, columns] with singular values near 1."""
    a, b, c = COEFFICIENTS
    # Rows at most columns: the Gram matrix is that of the shorter side.
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    # The iteration needs singular values of at most 1. The addend is for a gradient of zero.
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T

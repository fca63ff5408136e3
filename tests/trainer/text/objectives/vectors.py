"""Logits whose divergences are published or computed with the papers' own code.

Rows are positions, columns the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _table(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


A_STUDENT = _table([2, 0, 0, 0], [0, 0, 0, 0], [5, 0, 0, 0], [5, 0, 0, 0], [1, 1, -1, -1])
A_TEACHER = _table([1, 1, 0, 0], [3, 0, 0, 0], [0, 5, 0, 0], [5, 0, 0, 0], [1, 1, -1, -1])
B_STUDENT = _table([2, 1, 0, -1, -2], [0, 0.1, 0.2, 0.3, 0.4], [6, 1, 0.5, 0, -0.5])
B_TEACHER = _table([1, 2, 0.5, -0.5, -3], [3, 1, 0, -1, -2], [0.5, 5, 1, 0, -1])
C_STUDENT, C_TEACHER = _table([1, 0, -1]), _table([0, 2, -1])


def close(actual: Tensor, expected: list[float], tolerance: float = 2e-6) -> None:
    torch.testing.assert_close(
        actual, torch.tensor(expected, dtype=actual.dtype), atol=tolerance, rtol=0
    )

"""An exponential moving average of the trained weights, to evaluate with: smoother in mid-run than
the last iterate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.distributed.tensors import placed_like, swap_values


class Average:
    """Holds the average in float32 at least; with decay 0 it holds nothing and the live weights are
    evaluated.

    `refresh` is called whenever the parameters have been given other values (`Runtime.refresh`).
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        decay: float,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._parameters, self._decay, self._refresh = parameters, decay, refresh
        self._mean = (
            {name: parameter.detach().clone() for name, parameter in parameters.items()}
            if decay
            else {}
        )

    @torch.no_grad()
    def follow(self) -> None:
        """mean ← decay · mean + (1 − decay) · weights."""
        for name, mean in self._mean.items():
            mean.lerp_(self._parameters[name], 1.0 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the live weights, and those back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._mean)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, mean in self._mean.items():
            mean.copy_(placed_like(mean, tensors[name]))

    def _swap(self) -> None:
        for name, mean in self._mean.items():
            self._mean[name] = swap_values(self._parameters[name], mean)
        self._refresh()

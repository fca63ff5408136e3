"""An exponential moving average of the trained weights, used for evaluation.

During training the average is less noisy than the current weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.distributed.tensors import placed_like, swap_values


class Average:
    """The average, in the parameters' own number format.

    With decay 0 nothing is stored, and evaluations use the current weights. `refresh` is called
    after the parameters have received other values (`Runtime.refresh`).
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
    def update(self) -> None:
        """Set mean to decay · mean + (1 − decay) · weights."""
        for name, mean in self._mean.items():
            mean.lerp_(self._parameters[name], 1.0 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the average instead of the current weights within this context."""
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
            # Exchanged, so that no third copy of the weights is needed.
            self._mean[name] = swap_values(self._parameters[name], mean)
        self._refresh()

"""An exponential moving average of the trained weights: m ← decay · m + (1 − decay) · weights.

It is less noisy than the weights. Evaluations and self teachers use it in their place for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.distributed.tensors import placed_like, swap_values


class Average:
    """The average [shape of each parameter], in float32; of float64 parameters in float64.

    In bfloat16 it would stand still: 1 − decay = 0.001 of an update is less than the distance to
    the next bfloat16. With decay 0 nothing is stored, and evaluations use the current weights.
    `refresh` is called after the parameters have received other values (`Runtime.refresh`).
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        decay: float,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._parameters, self._decay, self._refresh = parameters, decay, refresh
        self._mean = (
            {name: _wide_copy(parameter) for name, parameter in parameters.items()} if decay else {}
        )

    @torch.no_grad()
    def update(self) -> None:
        """Set mean to decay · mean + (1 − decay) · weights."""
        for name, mean in self._mean.items():
            mean.lerp_(self._parameters[name].to(mean.dtype), 1.0 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the average, cast to the parameters' format, instead of the weights in this context.

        Do not change the parameters in it.
        """
        # Swapping would give back an average that has been rounded to the parameters' format.
        wider = {
            name: mean
            for name, mean in self._mean.items()
            if mean.dtype != self._parameters[name].dtype
        }
        self._swap()
        try:
            yield
        finally:
            self._swap()
            self._mean.update(wider)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._mean)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load a checkpoint's average, whatever its number format."""
        for name, mean in self._mean.items():
            mean.copy_(placed_like(mean, tensors[name].to(mean.dtype)))

    def _swap(self) -> None:
        for name, mean in self._mean.items():
            parameter = self._parameters[name]
            # Exchanged, so that no third copy of the weights is needed.
            self._mean[name] = swap_values(parameter, mean.to(parameter.dtype))
        self._refresh()


def _wide_copy(parameter: Parameter) -> Tensor:
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return parameter.detach().to(dtype, copy=True)

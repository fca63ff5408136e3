"""Optimiser groups: the parameters that one phase of a method updates, their AdamW, and the
learning rate inside a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.distributed.tensors import full_tensor, placed_like
from trainer.engine.distributed.world import World
from trainer.engine.outcome import NotANumber, RunRefused
from trainer.spec.stages import Optimiser

if TYPE_CHECKING:
    from trainer.engine.distributed.sharding import Sharded

R = TypeVar("R")


def rate_at(settings: Optimiser, index: int, steps: int) -> float:
    """Learning rate of update `index` (from 0) of a stage of `steps`: linear warm-up, then linear
    decay to the final share.
    """
    if index < settings.warmup_steps:
        return settings.learning_rate * (index + 1) / settings.warmup_steps
    decaying = max(1, steps - settings.warmup_steps - 1)
    share = min(1.0, (index - settings.warmup_steps) / decaying)
    return settings.learning_rate * (1.0 - share * (1.0 - settings.final_share))


class OptimiserGroup:
    """Named parameters with their AdamW. Gradients gather over micro-batches, and over the ranks of
    `world`, until `update`.

    `normaliser` is Z of the whole round, the same on every rank: methods hand in unnormalised sums
    of what this rank computes, and only this class divides by Z. With `sharded` the parameters lie
    in shards, else each rank has them all. With `bfloat16` the forward pass computes in it;
    parameters, gradients and moments never are narrower than float32.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Parameter],
        world: World | None = None,
        sharded: Sharded | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.name, self.parameters = name, dict(parameters)
        _refuse_narrow(name, self.parameters)
        self.world, self.sharded, self.bfloat16 = world or World(), sharded, bfloat16
        self.normaliser = 1.0
        self.clip_norm = 1.0
        self._loss = 0.0
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=0.0, weight_decay=0.0, fused=True
        )

    def reset(self) -> None:
        """Forget the moments."""
        self.optimiser.state.clear()

    def configure(self, settings: Optimiser, rate: float) -> None:
        self.clip_norm = settings.clip_norm
        for part in self.optimiser.param_groups:
            part["lr"], part["weight_decay"] = rate, settings.weight_decay

    def forward(self, compute: Callable[[], R]) -> R:
        """Compute a micro-batch's loss in the group's precision, with its parameters at hand."""
        device = next(iter(self.parameters.values())).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.sharded.forward(compute) if self.sharded else compute()

    def backward(self, loss_sum: Tensor) -> None:
        """Add the gradient of `loss_sum / Z`."""
        self._loss += float(loss_sum.detach())
        (loss_sum / self.normaliser).backward()

    def drop(self) -> None:
        """Forget the gradients gathered so far."""
        self._loss = 0.0
        self.optimiser.zero_grad()

    def update(self) -> dict[str, float]:
        """Add up over the ranks, clip, step and clear.

        Raises NotANumber, with the parameters untouched, where the loss or a gradient is not
        finite.
        """
        loss = self.world.sum(self._loss) / self.normaliser
        if self.sharded is None and self.world.size > 1:
            self._add_up_gradients()
        norm = float(
            full_tensor(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip_norm))
        )
        if not (_finite(loss) and _finite(norm)):
            self.drop()
            raise NotANumber(f"the loss is {loss} and its gradient's norm {norm}")
        self.optimiser.step()
        self.drop()
        return {
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": float(self.optimiser.param_groups[0]["lr"]),
        }

    def moments(self) -> dict[str, Tensor]:
        """The optimiser's state as named tensors: `<group>/<parameter>/<key>`."""
        state = self.optimiser.state
        return {
            f"{self.name}/{name}/{key}": value
            for name, p in self.parameters.items()
            for key, value in state.get(p, {}).items()
        }

    def load(self, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Take over whole tensors, whatever number of ranks wrote them."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(placed_like(parameter, parameters[name]))
        self.reset()
        for path, value in moments.items():
            group, name, key = path.split("/")
            if group == self.name:
                parameter = self.parameters[name]
                self.optimiser.state[parameter][key] = (
                    placed_like(parameter, value) if value.ndim else value.to(parameter.device)
                )

    def _add_up_gradients(self) -> None:
        """A rank without rows has no gradients and adds zeros; what no rank has a gradient of stays
        without one.
        """
        parameters = list(self.parameters.values())
        wanted = self.world.elementwise_max(
            [parameter.grad is not None for parameter in parameters]
        )
        for parameter, anywhere in zip(parameters, wanted, strict=True):
            if anywhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.world.all_reduce(
            [parameter.grad for parameter in parameters if parameter.grad is not None]
        )


def _refuse_narrow(group: str, parameters: Mapping[str, Parameter]) -> None:
    """Adding a small update to a bfloat16 number changes nothing: the next larger one is up to
    1/128 away.
    """
    for name, parameter in parameters.items():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            held = str(parameter.dtype).removeprefix("torch.")
            raise RunRefused(
                f"The parameter {name} of {group} is held in {held}, in which small updates are lost.",
                "Hold trained weights in float32; networks.student.dtype bfloat16 computes in bfloat16 all the same.",
            )


def _finite(value: float) -> bool:
    return value - value == 0.0

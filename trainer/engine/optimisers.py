"""Optimiser groups: the parameters that a phase updates, their AdamW and learning rate."""

from __future__ import annotations

import math
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

# Updates in a row that may be skipped; after more of them the weights themselves are the cause.
MOST_SKIPPED = 10
# Metric of an update that was skipped; it has no other.
SKIPPED = "update/skipped"


def rate_at(settings: Optimiser, index: int, steps: int) -> float:
    """Return the learning rate of update `index` (from 0) of a stage of `steps` updates.

    Linear warm-up is followed by linear decay to `final_share` of the highest rate.
    """
    if index < settings.warmup_steps:
        # From 1/n and not from 0: an update at rate 0 would be computed in vain.
        return settings.learning_rate * (index + 1) / settings.warmup_steps
    # The last update (index steps − 1) has exactly the final share; a stage of one update has no
    # decay to divide by.
    decaying = max(1, steps - settings.warmup_steps - 1)
    share = min(1.0, (index - settings.warmup_steps) / decaying)
    return settings.learning_rate * (1.0 - share * (1.0 - settings.final_share))


class OptimiserGroup:
    """Named parameters with their AdamW.

    Gradients accumulate over micro-batches, and are summed over the ranks of `world` in `update`.
    `normaliser` is Z of the whole round, the same on every rank: methods pass unnormalised sums
    over what this rank computes, and only this class divides by Z. With `sharded` the parameters
    are sharded over the ranks, else each rank holds all of them. With `bfloat16` the forward pass
    computes in it; parameters, gradients and moments are always float32 or wider.
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
        self.skips_not_finite = False
        self._skipped_in_a_row = 0
        self._loss = 0.0
        # The rate and the decay are set before every update (`configure`), because they follow the
        # stage.
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=0.0, weight_decay=0.0, fused=True
        )

    def reset(self) -> None:
        """Discard the moments."""
        # The param groups stay: only moments and their step counts belong to what was trained
        # before.
        self.optimiser.state.clear()

    def configure(self, settings: Optimiser, rate: float) -> None:
        self.clip_norm = settings.clip_norm
        self.skips_not_finite = settings.not_finite == "skip"
        for param_group in self.optimiser.param_groups:
            param_group["lr"], param_group["weight_decay"] = rate, settings.weight_decay
            param_group["betas"] = settings.beta1, settings.beta2

    def forward(self, compute: Callable[[], R]) -> R:
        """Compute a micro-batch's loss in the group's precision, fetching shards."""
        device = next(iter(self.parameters.values())).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.sharded.forward(compute) if self.sharded else compute()

    def backward(self, loss_sum: Tensor) -> None:
        """Add the gradient of `loss_sum / Z`."""
        # In float64 on the host: the metric must not lose digits over many micro-batches.
        self._loss += float(loss_sum.detach())
        (loss_sum / self.normaliser).backward()

    def discard_gradients(self) -> None:
        self._loss = 0.0
        self.optimiser.zero_grad()

    def update(self) -> dict[str, float]:
        """Sum gradients over the ranks, clip, step and clear; return metrics of the update.

        If the loss or a gradient is not finite, the parameters stay unchanged: the update is
        skipped where the settings say so, else NotANumber is raised.
        """
        # Summed over the ranks, so that all see the same numbers and all stop if one is not finite.
        loss = self.world.sum(self._loss) / self.normaliser
        # FSDP2 has already summed the gradients of shards in the backward pass.
        if self.sharded is None and self.world.size > 1:
            self._sum_gradients()
        norm = float(
            full_tensor(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip_norm))
        )
        # Checked before the step: AdamW would write a NaN into every parameter and moment.
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.discard_gradients()
            self._skipped_in_a_row += 1
            if self.skips_not_finite and self._skipped_in_a_row <= MOST_SKIPPED:
                return {SKIPPED: 1.0}
            raise NotANumber(f"the loss is {loss} and its gradient's norm {norm}")
        self._skipped_in_a_row = 0
        self.optimiser.step()
        self.discard_gradients()
        return {
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": float(self.optimiser.param_groups[0]["lr"]),
        }

    def moments(self) -> dict[str, Tensor]:
        """Return the optimiser's state as named tensors: `<group>/<parameter>/<key>`."""
        state = self.optimiser.state
        return {
            f"{self.name}/{name}/{key}": value
            for name, parameter in self.parameters.items()
            for key, value in state.get(parameter, {}).items()
        }

    def load(self, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Load parameters and moments from whole tensors, however many ranks wrote them."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(placed_like(parameter, parameters[name]))
        self.reset()
        for path, value in moments.items():
            # Names of parameters have dots and never a slash.
            group, name, key = path.split("/")
            if group == self.name:
                parameter = self.parameters[name]
                # AdamW's step count is a scalar, which is never sharded.
                self.optimiser.state[parameter][key] = (
                    placed_like(parameter, value) if value.ndim else value.to(parameter.device)
                )

    def _sum_gradients(self) -> None:
        """Sum the gradients over the ranks.

        A rank without rows has no gradients and adds zeros. A parameter without a gradient on any
        rank stays without one, because AdamW would otherwise decay it.
        """
        parameters = list(self.parameters.values())
        on_any_rank = self.world.elementwise_max(
            [parameter.grad is not None for parameter in parameters]
        )
        for parameter, has_gradient in zip(parameters, on_any_rank, strict=True):
            if has_gradient and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.world.all_reduce(
            [parameter.grad for parameter in parameters if parameter.grad is not None]
        )


def _refuse_narrow(group: str, parameters: Mapping[str, Parameter]) -> None:
    """Raise RunRefused for trained parameters in half precision.

    Near 1 the next larger bfloat16 number is 1/128 away, so that adding a small update changes
    nothing.
    """
    for name, parameter in parameters.items():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            dtype = str(parameter.dtype).removeprefix("torch.")
            raise RunRefused(
                f"The parameter {name} of {group} is held in {dtype}, in which small updates are "
                "lost.",
                "Hold trained weights in float32; networks.student.dtype bfloat16 computes in "
                "bfloat16 all the same.",
            )

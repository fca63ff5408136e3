"""Optimiser groups: the parameters that one phase of a method updates, their AdamW, and the learning rate inside a stage."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.outcome import NotANumber
from trainer.spec.stages import Optimiser


def rate_at(settings: Optimiser, index: int, steps: int) -> float:
    """Learning rate of update `index` (from 0) of a stage of `steps`: linear warm-up, then linear decay to the final share."""
    if index < settings.warmup_steps:
        return settings.learning_rate * (index + 1) / settings.warmup_steps
    decaying = max(1, steps - settings.warmup_steps - 1)
    share = min(1.0, (index - settings.warmup_steps) / decaying)
    return settings.learning_rate * (1.0 - share * (1.0 - settings.final_share))


class Group:
    """Named parameters with their AdamW. Gradients gather over micro-batches until `update`.

    `normaliser` is Z: methods hand in unnormalised sums of a loss, and only this class divides by Z.
    """

    def __init__(self, name: str, parameters: Mapping[str, Parameter]) -> None:
        self.name, self.parameters = name, dict(parameters)
        self.normaliser = 1.0
        self.clip_norm = 1.0
        self._loss = 0.0
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=0.0, weight_decay=0.0, fused=True)

    def reset(self) -> None:
        """Forget the moments."""
        self.optimiser.state.clear()

    def configure(self, settings: Optimiser, rate: float) -> None:
        self.clip_norm = settings.clip_norm
        for part in self.optimiser.param_groups:
            part["lr"], part["weight_decay"] = rate, settings.weight_decay

    def backward(self, loss_sum: Tensor) -> None:
        """Add the gradient of `loss_sum / Z`."""
        self._loss += float(loss_sum.detach())
        (loss_sum / self.normaliser).backward()

    def update(self) -> dict[str, float]:
        """Clip, step and clear. Raises NotANumber, with the parameters untouched, where the loss or a gradient is not finite."""
        loss, self._loss = self._loss / self.normaliser, 0.0
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip_norm))
        if not (_finite(loss) and _finite(norm)):
            self.optimiser.zero_grad()
            raise NotANumber(f"the loss is {loss} and its gradient's norm {norm}")
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"loss": loss, "grad_norm": norm, "learning_rate": float(self.optimiser.param_groups[0]["lr"])}

    def moments(self) -> dict[str, Tensor]:
        """The optimiser's state as named tensors: `<group>/<parameter>/<key>`."""
        state = self.optimiser.state
        return {f"{self.name}/{name}/{key}": value for name, p in self.parameters.items() for key, value in state.get(p, {}).items()}

    def load(self, parameters: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(parameters[name])
        self.reset()
        for path, value in moments.items():
            group, name, key = path.split("/")
            if group == self.name:
                parameter = self.parameters[name]
                self.optimiser.state[parameter][key] = value.to(parameter.device)


def _finite(value: float) -> bool:
    return value - value == 0.0

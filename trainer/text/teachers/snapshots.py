"""The weights that a teacher reads with: its network's own, or others put in for a while.

A self teacher is the student with its weights from before the run or with a moving average of its
weights (SDFT, CaOPD: average ← (1 − a) · average + a · student after every update). Only trained
weights are stored: with an adapter that is the adapter alone. The weights from before the run then
need no copy, because an untrained adapter adds nothing and can be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from trainer.spec.networks import Adapter, NoAdapter, SelfTeacher
from trainer.text.language import adapters
from trainer.text.language.averaging import Average


class Weights(Protocol):
    """Weights that temporarily replace a network's; `tensors` belong in a checkpoint."""

    def in_place(self) -> AbstractContextManager[None]:
        """Inside the block the network has these weights, afterwards its own again."""

    def update(self) -> None:
        """Update after an update of the student."""

    def tensors(self) -> dict[str, Tensor]: ...

    def load(self, tensors: Mapping[str, Tensor]) -> None: ...


class UnchangedWeights:
    """The network with its present weights."""

    def in_place(self) -> AbstractContextManager[None]:
        return nullcontext()

    def update(self) -> None:
        pass

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        pass


class WithoutAdapter(UnchangedWeights):
    """The student without its adapter: the weights from before the run, without a copy."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def in_place(self) -> AbstractContextManager[None]:
        return adapters.without_adapter(self.model)


class InitialWeights(UnchangedWeights):
    """A copy of the weights at construction.

    It is not stored: a resumed run makes it again from the model's folder and the seed.
    """

    def __init__(self, parameters: Mapping[str, Parameter], refresh: Callable[[], None]) -> None:
        # An average with decay 1 that is never updated is a copy that can be put in place.
        self.copy = Average(parameters, 1.0, refresh)

    def in_place(self) -> AbstractContextManager[None]:
        return self.copy.in_place()


def weights_of(
    teacher: SelfTeacher, adapter: Adapter, model: PreTrainedModel, refresh: Callable[[], None]
) -> Weights:
    """The weights that a self teacher asks for, taken from the student as it is now.

    The student has its adapter already, if it gets one. `refresh` is called whenever its parameters
    have been given other values.
    """
    trained = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if teacher.weights == "live":
        return UnchangedWeights()
    if teacher.weights == "ema":
        return Average(trained, 1.0 - teacher.ema_rate, refresh)
    return (
        InitialWeights(trained, refresh)
        if isinstance(adapter, NoAdapter)
        else WithoutAdapter(model)
    )

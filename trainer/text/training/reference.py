"""The student's weights at the beginning of a stage, which a KL term may be relative to.

They are kept only for a stage that needs them. An adapter adds nothing before its first update, so
that in the first stage it is switched off instead of being copied. A checkpoint has the copy: a
resumed run has the same reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from trainer.engine.outcome import RunRefused
from trainer.spec import LowRankAdapter, Need, RunSpec, Stage
from trainer.text.language.averaging import Average
from trainer.text.teachers.snapshots import Weights, WithoutAdapter


class Reference:
    """The reference of the present stage, if it has one.

    `parameters` are those in training; `refresh` is called whenever they have been given other
    values.
    """

    def __init__(
        self,
        spec: RunSpec,
        model: PreTrainedModel,
        parameters: Mapping[str, Parameter],
        refresh: Callable[[], None],
    ) -> None:
        self._spec, self._model = spec, model
        self._parameters, self._refresh = parameters, refresh
        self._weights: Weights | None = None
        self._stage = ""
        self._restored: Mapping[str, Tensor] = {}

    def enter(self, stage: Stage, begins: bool) -> None:
        """Have the reference of a stage at each of its steps; `begins` marks the first one.

        Raises RunRefused if a resumed run has none in its checkpoint.
        """
        if self._stage == stage.name and self._weights is not None and not begins:
            return
        self._weights = None
        if Need.REFERENCE_LOGPROB in stage.requirements:
            self._weights = self._new(stage, begins)
        self._stage, self._restored = stage.name, {}

    def in_place(self) -> AbstractContextManager[None]:
        """Inside the block the student has the weights of the reference."""
        assert self._weights is not None
        return self._weights.in_place()

    def _new(self, stage: Stage, begins: bool) -> Weights:
        if self._adapter_off_is_equal(stage):
            return WithoutAdapter(self._model)
        copy = Average(self._parameters, 1.0, self._refresh)
        if begins:
            return copy
        if not self._restored or self._stage != stage.name:
            raise RunRefused(
                f"Stage {stage.name} has begun, but the checkpoint does not have the weights from "
                "its beginning.",
                "Resume with the definition that the run was started with.",
            )
        copy.load(self._restored)
        return copy

    def _adapter_off_is_equal(self, stage: Stage) -> bool:
        return stage.name == self._spec.stages[0].name and isinstance(
            self._spec.networks.student.adapter, LowRankAdapter
        )

    # What a checkpoint must hold.

    @property
    def stage(self) -> str:
        return self._stage

    def tensors(self) -> dict[str, Tensor]:
        return self._weights.tensors() if self._weights else dict(self._restored)

    def load(self, stage: str, tensors: Mapping[str, Tensor]) -> None:
        self._weights, self._stage, self._restored = None, stage, tensors

"""A method small enough to know by heart: two groups of parameters fit a line, the second every
other round.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine.checkpoints import Snapshot
from trainer.engine.loop import EvaluationReport, MethodState, Phase, Runtime
from trainer.events import EventLog, read
from trainer.spec import Optimiser
from trainer.spec.operation import Checkpoints

FIRST, SECOND = Phase("first", "slope"), Phase("second", "offset", every=2)


class Line:
    """Minimises the mean of (slope·x + offset − 3x − 1)² over 8 points that follow from the
    step.
    """

    phases: tuple[Phase, ...] = (FIRST, SECOND)

    def __init__(
        self, total_steps: int = 10, micro: int = 1, poison_at: int = -1, stop_at: int = -1
    ) -> None:
        self.total_steps, self.micro, self.poison_at, self.stop_at = (
            total_steps,
            micro,
            poison_at,
            stop_at,
        )
        self.closed = False
        self.calls: list[str] = []

    def setup(self, rt: Runtime) -> None:
        self.slope = Parameter(torch.zeros(1, dtype=torch.float64))
        self.offset = Parameter(torch.zeros(1, dtype=torch.float64))
        for name, parameter in {"slope": self.slope, "offset": self.offset}.items():
            rt.group(name, {"value": parameter}).configure(Optimiser(learning_rate=0.1), 0.1)

    def batch(self, rt: Runtime) -> Tensor:
        if rt.step == self.stop_at:
            rt.request_stop("asked in the test")
        if rt.step == self.poison_at:
            return torch.full((8,), torch.nan, dtype=torch.float64)
        return torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(rt.step))

    def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
        self.calls.append(phase.name)
        assert phase.group is not None
        rt.normalise(phase.group, len(batch))
        for chunk in batch.chunk(self.micro):
            target = self.offset.detach() if phase is FIRST else self.offset
            slope = self.slope if phase is FIRST else self.slope.detach()
            rt.backward(((slope * chunk + target - 3 * chunk - 1) ** 2).sum(), phase.group)
        return {}

    def after_update(self, rt: Runtime) -> None:
        pass

    def after_step(self, rt: Runtime) -> None:
        rt.count_tokens(8)
        rt.count_operations(1.0)

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        self.calls.append(f"evaluate {when} {rt.step}")
        score = -abs(rt.step - 4)
        return EvaluationReport({"eval/score": score}, score, f"The score is {score}.")

    def state(self) -> MethodState:
        return MethodState(values={"remembered": self.slope.item()})

    def load(self, snapshot: Snapshot) -> None:
        assert snapshot.state["method"]["remembered"] == self.slope.item()

    def close(self) -> None:
        self.closed = True


def runtime(
    folder: Path, attempt: int = 1, every: int = 3, keep_last: int = 2, evaluate_every: int = 4
) -> Runtime:
    log = EventLog(folder / "events", attempt)
    return Runtime(
        folder,
        log,
        torch.device("cpu"),
        Checkpoints(every=every, keep_last=keep_last),
        evaluate_every,
    )


def events(folder: Path, *types: str) -> list[dict[str, Any]]:
    return [event for event in read(folder / "events") if not types or event["type"] in types]

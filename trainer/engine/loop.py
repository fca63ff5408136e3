"""The one training loop. It knows nothing of what is trained: a `Method` brings that.

A *round* is: choose a batch, then run each phase of the method on it; a phase with an optimiser
group ends in one *update* of that group, whose gradient may be gathered over any number of
*micro*-batches. Methods hand unnormalised sums to `Runtime.backward`; the loop divides by Z, clips,
steps, times, logs, evaluates, saves and stops. Every decision depends on the state that a
checkpoint holds, so that an interrupted and resumed run gives the same numbers as one that was left
alone.

With several processes each runs this loop, on the same state (`world`): they divide the work inside
the method's calls, and the loop adds up gradients, saves and stops with all of them together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from trainer.engine import memory
from trainer.engine.checkpoints import Snapshot
from trainer.engine.optimisers import OptimiserGroup
from trainer.engine.outcome import NotANumber, NothingToTrain, OutOfMemory, Stopped
from trainer.engine.runtime import Runtime
from trainer.engine.saving import restore, save

__all__ = ["EvaluationReport", "Method", "MethodState", "Phase", "Runtime", "train"]


@dataclass(frozen=True)
class Phase:
    """A part of a round. `group` names the optimiser group that it updates; None is a phase without
    gradients. `every` is in rounds.
    """

    name: str
    group: str | None = None
    every: int = 1


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found: metrics, a score by which checkpoints are compared (higher is
    better), and the same in a sentence.
    """

    values: Mapping[str, float]
    score: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class MethodState:
    """What a method must get back to go on: named sets of tensors, values that JSON can hold, and
    files to ship along.
    """

    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class Method(Protocol):
    """What a distillation method brings to the loop. Called as setup → (load) → {batch →
    run(phase)… → after_step} … evaluate.
    """

    phases: tuple[Phase, ...]
    total_steps: int

    def setup(self, rt: Runtime) -> None:
        """Load networks and data; register the trained parameters by `rt.group`."""

    def batch(self, rt: Runtime) -> Any:
        """What the next round is about. Must follow from the state alone. Raises NothingToTrain
        where no round makes sense.
        """

    def run(self, phase: Phase, batch: Any, rt: Runtime) -> Mapping[str, float]:
        """Carry out one phase. A phase with a group sets `rt.normalise`; for each micro-batch it
        calls `rt.forward` and `rt.backward`.

        It may be called again for the same batch, when memory ran out: nothing may change before
        its end.
        """

    def after_step(self, rt: Runtime) -> None:
        """Moving averages and the like."""

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        """Measure; `when` is before, during or after. Must not change what training depends on."""

    def state(self) -> MethodState: ...

    def load(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None:
        """Let go of processes and files. Called once, however the run ends."""


def train(method: Method, rt: Runtime, snapshot: Snapshot | None = None) -> tuple[str, str]:
    """Carry a method through to its last step, from a snapshot if there is one; return the reason
    and remedy that the run ends with.

    Raises Stopped after saving a checkpoint, NotANumber and DiskFull with their remedies, and
    whatever the method raises.
    """
    rt.total_steps = method.total_steps
    rt.progress("loading", 0, 1)
    method.setup(rt)
    if snapshot is not None:
        restore(method, rt, snapshot)
    try:
        return _train(method, rt)
    except Stopped:
        if rt.saved != rt.step:
            save(method, rt)
        raise


def _train(method: Method, rt: Runtime) -> tuple[str, str]:
    reason, remedy = f"All {method.total_steps} steps are done.", ""
    try:
        while rt.step < method.total_steps:
            _at_boundary(method, rt)
            rt.emit_progress("training", rt.step, method.total_steps)
            rt.raise_if_stopped()
            _round(method, rt)
    except NothingToTrain as nothing:
        reason, remedy = nothing.reason, nothing.remedy
    if rt.evaluated != rt.step:
        reason = f"{reason} {_evaluate(method, rt, 'after').sentence}".strip()
    if rt.saved != rt.step:
        save(method, rt)
    return reason, remedy


def _at_boundary(method: Method, rt: Runtime) -> None:
    """Evaluate and save where it is due and has not been done yet."""
    if rt.step == 0 and rt.evaluated < 0:
        _evaluate(method, rt, "before")
    elif (
        rt.step
        and rt.evaluate_every
        and rt.step % rt.evaluate_every == 0
        and rt.evaluated < rt.step
    ):
        _evaluate(method, rt, "during")
    due = bool(rt.keep.every) and rt.step > 0 and rt.step % rt.keep.every == 0
    best = rt.keep.keep_best and rt.best is not None and rt.best[1] == rt.step
    if (due or best) and rt.saved < rt.step:
        save(method, rt)


def _round(method: Method, rt: Runtime) -> None:
    with rt.full_parameters():
        batch = method.batch(rt)
    if rt.checkpoint_requested:
        save(method, rt)
    began, tokens = time.perf_counter(), rt.tokens
    values: dict[str, float] = {}
    for phase in method.phases:
        if rt.round % phase.every == 0:
            values |= _phase(method, phase, batch, rt)
    rt.step += 1
    rt.round += 1
    method.after_step(rt)
    seconds = time.perf_counter() - began
    values |= {
        "time/step_s": seconds,
        "tokens_per_second": (rt.tokens - tokens) / seconds,
        **rt.memory(),
    }
    rt.last_values = values
    rt.metrics(values)


def _phase(method: Method, phase: Phase, batch: Any, rt: Runtime) -> dict[str, float]:
    began = time.perf_counter()
    if phase.group is None:
        with rt.full_parameters():
            values = dict(method.run(phase, batch, rt))
    else:
        values = dict(_gradients(method, phase, batch, rt))
        values |= _update(rt, rt.groups[phase.group])
    return values | {f"time/{phase.name}_s": time.perf_counter() - began}


def _gradients(method: Method, phase: Phase, batch: Any, rt: Runtime) -> Mapping[str, float]:
    """Run a phase that gathers gradients; where memory runs out, from its beginning with half as
    large micro-batches.

    Among several ranks the others cannot follow in the middle of a phase: there all begin again
    from the checkpoint (`processes`).
    """
    random, counted = memory.RandomState(rt.device), (rt.micro, rt.tokens, rt.compute)
    while True:
        try:
            return method.run(phase, batch, rt)
        except Exception as error:
            if not memory.is_out_of_memory(error) or not rt.can_shrink_micro_batch:
                raise
            cause = memory.first_line(error)
            if rt.world.size > 1:
                raise OutOfMemory(cause, again=True) from error
        rt.groups[phase.group or ""].drop()
        memory.release(rt.device)
        random.restore()
        rt.micro, rt.tokens, rt.compute = counted
        rt.micro_scale /= 2
        message = f"Memory ran out in step {rt.step + 1} ({cause}); the step is computed again, {rt.micro_batch_tokens:,} tokens at a time."
        rt.log.log("warning", message)


def _update(rt: Runtime, group: OptimiserGroup) -> dict[str, float]:
    try:
        return group.update()
    except NotANumber as error:
        kept = (
            f"the last good checkpoint is that of step {rt.saved}"
            if rt.saved >= 0
            else "no checkpoint had been written yet"
        )
        raise NotANumber(
            f"At step {rt.step + 1} {error}; {kept}.",
            "Lower the learning rate or the clip norm, and resume from that checkpoint or start again.",
        ) from error


def _evaluate(method: Method, rt: Runtime, when: str) -> EvaluationReport:
    with rt.full_parameters():
        report = method.evaluate(rt, when)
    rt.evaluated = rt.step
    if (
        when != "before"
        and report.score is not None
        and (rt.best is None or report.score > rt.best[0])
    ):
        rt.best = (report.score, rt.step)
    rt.metrics(report.values)
    if report.sentence and when != "after":  # the last one is part of the run's last words
        rt.log.log(
            "info",
            f"{'Before training' if when == 'before' else f'After step {rt.step:,}'}: {report.sentence}",
        )
    return report

"""The one training loop. It knows nothing of what is trained: a `Method` brings that.

A *round* is: choose a batch, then run each phase of the method on it; a phase with an optimiser group ends in one *update* of that
group, whose gradient may be gathered over any number of *micro*-batches. Methods hand unnormalised sums to `Runtime.backward`; the
loop divides by Z, clips, steps, times, logs, evaluates, saves and stops. Every decision depends on the state that a checkpoint holds,
so that an interrupted and resumed run gives the same numbers as one that was left alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.engine import checkpoints
from trainer.engine.checkpoints import Snapshot
from trainer.engine.events import EventLog
from trainer.engine.optimisers import Group
from trainer.engine.outcome import DiskFull, NotANumber, NothingToTrain, Stopped
from trainer.spec.operation import Checkpoints

PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Phase:
    """A part of a round. `group` names the optimiser group that it updates; None is a phase without gradients. `every` is in rounds."""

    name: str
    group: str | None = None
    every: int = 1


@dataclass(frozen=True)
class Report:
    """What an evaluation found: metrics, a score by which checkpoints are compared (higher is better), and the same in a sentence."""

    values: Mapping[str, float]
    score: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class MethodState:
    """What a method must get back to go on: named sets of tensors, values that JSON can hold, and files to ship along."""

    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class Method(Protocol):
    """What a distillation method brings to the loop. Called as setup → (load) → {batch → run(phase)… → after_step} … evaluate."""

    phases: tuple[Phase, ...]
    total_steps: int

    def setup(self, rt: Runtime) -> None:
        """Load networks and data; register the trained parameters by `rt.group`."""

    def batch(self, rt: Runtime) -> Any:
        """What the next round is about. Must follow from the state alone. Raises NothingToTrain where no round makes sense."""

    def run(self, phase: Phase, batch: Any, rt: Runtime) -> Mapping[str, float]:
        """Carry out one phase. A phase with a group sets `rt.normalise` and calls `rt.backward` for each micro-batch."""

    def after_step(self, rt: Runtime) -> None:
        """Moving averages and the like."""

    def evaluate(self, rt: Runtime, when: str) -> Report:
        """Measure; `when` is before, during or after. Must not change what training depends on."""

    def state(self) -> MethodState: ...

    def load(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None:
        """Let go of processes and files. Called once, however the run ends."""


class Runtime:
    """What a method may ask of the engine: counters, log, optimiser groups, progress, checkpoints and the wish to stop."""

    def __init__(self, folder: Path, log: EventLog, device: torch.device, keep: Checkpoints, evaluate_every: int) -> None:
        self.folder, self.log, self.device = folder, log, device
        self.keep, self.evaluate_every = keep, evaluate_every
        self.groups: dict[str, Group] = {}
        self.step = self.round = self.micro = 0
        self.total_steps = 0
        self.tokens, self.compute = 0, 0.0
        self.stage = ""
        self.evaluated = self.saved = -1
        self.best: tuple[float, int] | None = None
        self.wants_checkpoint = False
        self.last_values: Mapping[str, float] = {}
        self._stop = ""
        self._progress: tuple[str, float] = ("", 0.0)
        self._process = psutil.Process()

    def group(self, name: str, parameters: Mapping[str, Parameter]) -> Group:
        """Register parameters under an optimiser group."""
        self.groups[name] = Group(name, parameters)
        return self.groups[name]

    def normalise(self, group: str, z: float) -> None:
        """Set Z of the coming update: the sums that `backward` gets are divided by it."""
        self.groups[group].normaliser = z

    def backward(self, loss_sum: Tensor, group: str) -> None:
        """Add the gradient of an unnormalised local sum."""
        self.micro += 1
        self.groups[group].backward(loss_sum)

    def count(self, tokens: int, compute: float) -> None:
        """Add tokens that were sampled or trained on, and the floating-point operations they took."""
        self.tokens += tokens
        self.compute += compute

    def emit(self, type: str, **fields: Any) -> None:
        self.log.emit(type, step=self.step, **fields)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.emit("metrics", stage=self.stage, tokens=self.tokens, compute=self.compute, values=dict(values))

    def progress(self, phase: str, done: int, of: int) -> None:
        """Say how far a phase is, at most twice a second. Raises Stopped if that was asked for: call it where that loses nothing."""
        self.show_progress(phase, done, of)
        self.leave_if_asked()

    def show_progress(self, phase: str, done: int, of: int) -> None:
        now, (shown, at) = time.monotonic(), self._progress
        if phase != shown or done >= of or now - at >= PROGRESS_SECONDS:
            self._progress = phase, now
            self.emit("progress", total_steps=self.total_steps, stage=self.stage, phase=phase, done=done, of=of)

    def request_stop(self, reason: str) -> None:
        self._stop = reason

    def leave_if_asked(self) -> None:
        """Raise where the run is to end here: on request, or because the event log cannot be written."""
        if self.log.trouble:
            raise DiskFull(f"The run stopped after step {self.step}: {self.log.trouble}.", "Free some space and resume the run.")
        if self._stop:
            raise Stopped(self._stop)

    def memory(self) -> dict[str, float]:
        values = {"memory/rss_bytes": float(self._process.memory_info().rss)}
        if self.device.type == "cuda":
            values["memory/device_bytes"] = float(torch.cuda.max_memory_allocated(self.device))
        return values


def train(method: Method, rt: Runtime, snapshot: Snapshot | None = None) -> tuple[str, str]:
    """Carry a method through to its last step, from a snapshot if there is one; return the reason and remedy that the run ends with.

    Raises Stopped after saving a checkpoint, NotANumber and DiskFull with their remedies, and whatever the method raises.
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
            rt.progress("training", rt.step, method.total_steps)
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
    elif rt.step and rt.evaluate_every and rt.step % rt.evaluate_every == 0 and rt.evaluated < rt.step:
        _evaluate(method, rt, "during")
    due = bool(rt.keep.every) and rt.step > 0 and rt.step % rt.keep.every == 0
    best = rt.keep.keep_best and rt.best is not None and rt.best[1] == rt.step
    if (due or best) and rt.saved < rt.step:
        save(method, rt)


def _round(method: Method, rt: Runtime) -> None:
    batch = method.batch(rt)
    if rt.wants_checkpoint:
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
    values |= {"time/step_s": seconds, "tokens_per_second": (rt.tokens - tokens) / seconds, **rt.memory()}
    rt.last_values = values
    rt.metrics(values)


def _phase(method: Method, phase: Phase, batch: Any, rt: Runtime) -> dict[str, float]:
    began = time.perf_counter()
    values = dict(method.run(phase, batch, rt))
    if phase.group is not None:
        values |= _update(rt, rt.groups[phase.group])
    return values | {f"time/{phase.name}_s": time.perf_counter() - began}


def _update(rt: Runtime, group: Group) -> dict[str, float]:
    try:
        return group.update()
    except NotANumber as error:
        kept = f"the last good checkpoint is that of step {rt.saved}" if rt.saved >= 0 else "no checkpoint had been written yet"
        raise NotANumber(
            f"At step {rt.step + 1} {error}; {kept}.",
            "Lower the learning rate or the clip norm, and resume from that checkpoint or start again.",
        ) from error


def _evaluate(method: Method, rt: Runtime, when: str) -> Report:
    report = method.evaluate(rt, when)
    rt.evaluated = rt.step
    if when != "before" and report.score is not None and (rt.best is None or report.score > rt.best[0]):
        rt.best = (report.score, rt.step)
    rt.metrics(report.values)
    return report


def save(method: Method, rt: Runtime) -> None:
    """Write a checkpoint of this step, say so, and remove those that need not be kept."""
    rt.show_progress("checkpoint", 0, 1)
    state = method.state()
    tensors = {name: group.parameters for name, group in rt.groups.items()}
    moments = {path: value for group in rt.groups.values() for path, value in group.moments().items()}
    loop = {"round": rt.round, "micro": rt.micro, "tokens": rt.tokens, "compute": rt.compute, "evaluated": rt.evaluated, "best": rt.best}
    snapshot = Snapshot(
        rt.step, rt.stage, {**tensors, "optimiser": moments, **state.tensors}, {"loop": loop, "method": dict(state.values)},
        rt.last_values, state.files,
    )  # fmt: skip
    folder, size = checkpoints.save(rt.folder / "checkpoints", snapshot)
    rt.saved, rt.wants_checkpoint = rt.step, False
    best = rt.best is not None and rt.best[1] == rt.step
    name = f"checkpoints/{folder.name}"
    rt.emit("checkpoint", stage=rt.stage, folder=name, bytes=size, best=best, metrics=dict(rt.last_values))
    for old in checkpoints.superfluous(folder.parent, rt.keep.keep_last, rt.best[1] if rt.keep.keep_best and rt.best else None):
        checkpoints.remove(old)
        rt.log.emit("checkpoint_removed", step=int(old.name.removeprefix("step-")), folder=f"checkpoints/{old.name}")


def restore(method: Method, rt: Runtime, snapshot: Snapshot) -> None:
    """Put everything back as it was when the snapshot was taken."""
    loop = snapshot.state["loop"]
    rt.step, rt.saved, rt.stage = snapshot.step, snapshot.step, snapshot.stage
    rt.round, rt.micro, rt.tokens, rt.compute = loop["round"], loop["micro"], loop["tokens"], loop["compute"]
    rt.evaluated, rt.best = loop["evaluated"], tuple(loop["best"]) if loop["best"] else None
    rt.last_values = snapshot.metrics
    for name, group in rt.groups.items():
        group.load(snapshot.tensors[name], snapshot.tensors["optimiser"])
    method.load(snapshot)

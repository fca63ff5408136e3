"""The training loop. It does not depend on what is trained: a `Method` defines that.

In a *round* the loop gets a batch from the method and runs each phase of the method on it. A phase
with an optimiser group ends in an *update* of that group, whose gradient may be accumulated over
any number of *micro*-batches; a round may repeat the phase for several updates on its batch. Steps,
evaluations, checkpoints and records count rounds. Methods pass unnormalised sums to
`Runtime.backward`; the loop divides by Z, clips, steps, times, logs, evaluates, saves and stops.
Every decision depends only on the state that a checkpoint holds, so that a run that was interrupted
and resumed gives the same numbers as one that was not. Checkpoints are written between rounds only:
what was done in a round that is interrupted is done again.

With several processes each runs this loop on the same state (`world`). They divide the work inside
the method's calls; gradients are summed, checkpoints written and stops decided together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from trainer.engine import memory
from trainer.engine.checkpoint_state import restore, save
from trainer.engine.checkpoints import Snapshot
from trainer.engine.optimisers import SKIPPED, OptimiserGroup
from trainer.engine.outcome import NotANumber, NothingToTrain, OutOfMemory, Stopped
from trainer.engine.runtime import Runtime

R = TypeVar("R")

__all__ = ["EvaluationReport", "Method", "MethodState", "Phase", "Runtime", "train"]


@dataclass(frozen=True)
class Phase:
    """A step of a round.

    `group` names the optimiser group that it updates; None is a phase without gradients. The phase
    runs in every `every`-th round.
    """

    name: str
    group: str | None = None
    every: int = 1


@dataclass(frozen=True)
class EvaluationReport:
    """The result of an evaluation: metrics, a sentence, and a score to compare checkpoints by.

    A higher score is better.
    """

    values: Mapping[str, float]
    score: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class MethodState:
    """What a method needs to resume: named sets of tensors, JSON values, and additional files."""

    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class Method(Protocol):
    """What a distillation method implements.

    The loop calls setup → (load) → {batch → run(phase)… → after_step} …, and evaluate before,
    during and after training. `after_update` follows every update of a phase with a group.
    """

    phases: tuple[Phase, ...]
    total_steps: int

    def setup(self, rt: Runtime) -> None:
        """Load networks and data; register the trained parameters by `rt.group`."""

    def batch(self, rt: Runtime) -> Any:
        """Return the batch of the next round, which must follow from the state alone.

        None says that a part of its preparation is done; after a checkpoint, where one is
        requested, and a chance to stop it is called again for the next part. It may set
        `rt.updates_per_round`. Raises NothingToTrain if no training is left.
        """

    def run(self, phase: Phase, batch: Any, rt: Runtime) -> Mapping[str, float]:
        """Run one phase and return its metrics.

        A phase with a group calls `rt.normalise`, and `rt.forward` and `rt.backward` for each
        micro-batch. It is called for each update of the round, whose number is `rt.update_in_round`
        (from 0). It may be called again for the same update after memory ran out, as may `batch`
        and `evaluate`, so it must not change the method's state before its end.
        """

    def after_update(self, rt: Runtime) -> None:
        """Update what follows every update of parameters, such as moving averages."""

    def after_step(self, rt: Runtime) -> None:
        """Finish the round, which is counted by now: record what it did."""

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        """Evaluate; `when` is before, during or after. Must not change what training depends on."""

    def state(self) -> MethodState: ...

    def load(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None:
        """Release processes and files. Called once, however the run ends."""


def train(method: Method, rt: Runtime, snapshot: Snapshot | None = None) -> tuple[str, str]:
    """Run a method to its last step, from a snapshot if given; return reason and remedy of the end.

    Raises Stopped after saving a checkpoint, NotANumber, DiskFull, and what the method raises.
    """
    rt.total_steps = method.total_steps
    # Before anything is loaded: a request that arrived early stops the run without the long wait.
    rt.progress("loading", 0, 1)
    method.setup(rt)
    if snapshot is not None:
        restore(method, rt, snapshot)
    try:
        return _train(method, rt)
    except Stopped:
        # A step boundary may have saved this step already; a second copy would cost time only.
        if rt.saved_step != rt.step:
            save(method, rt)
        raise


def _train(method: Method, rt: Runtime) -> tuple[str, str]:
    reason, remedy = f"All {method.total_steps} steps are done.", ""
    try:
        while rt.step < method.total_steps:
            # At the top of the loop, so that the last step gets the final evaluation and no other,
            # and a resumed run first does what its boundary still lacks.
            _evaluate_and_save_if_due(method, rt)
            rt.emit_progress("training", rt.step, method.total_steps)
            rt.raise_if_stopped()
            _run_round(method, rt)
    except NothingToTrain as nothing:
        reason, remedy = nothing.reason, nothing.remedy
    # A finished run that is resumed has evaluated and saved this step already.
    if rt.evaluated_step != rt.step:
        reason = f"{reason} {_evaluate(method, rt, 'after').sentence}".strip()
    if rt.saved_step != rt.step:
        save(method, rt)
    return reason, remedy


def _evaluate_and_save_if_due(method: Method, rt: Runtime) -> None:
    """Evaluate and save at a step boundary, unless this was done before the run was interrupted."""
    if rt.step == 0 and rt.evaluated_step < 0:
        _evaluate(method, rt, "before")
    elif (
        rt.step
        and rt.evaluate_every
        and rt.step % rt.evaluate_every == 0
        and rt.evaluated_step < rt.step
    ):
        _evaluate(method, rt, "during")
    save_every = rt.checkpoints.every
    is_due = bool(save_every) and rt.step > 0 and rt.step % save_every == 0
    is_best = rt.checkpoints.keep_best and rt.best is not None and rt.best[1] == rt.step
    if (is_due or is_best) and rt.saved_step < rt.step:
        save(method, rt)


def _run_round(method: Method, rt: Runtime) -> None:
    batch = _prepared_batch(method, rt)
    began, tokens = time.perf_counter(), rt.tokens
    values: dict[str, float] = {}
    for phase in method.phases:
        if rt.round % phase.every == 0:
            values |= _run_phase(method, phase, batch, rt)
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


def _prepared_batch(method: Method, rt: Runtime) -> Any:
    while True:
        with rt.full_parameters():
            batch = _repeated_with_less_memory(
                rt, lambda: method.batch(rt), f"the preparation of step {rt.step + 1}"
            )
        # Pass rates or written answers are complete: the longest work that a kill could lose.
        if rt.checkpoint_requested:
            save(method, rt)
        if batch is not None:
            return batch
        rt.raise_if_stopped()


def _run_phase(method: Method, phase: Phase, batch: Any, rt: Runtime) -> dict[str, float]:
    began = time.perf_counter()
    if phase.group is None:
        with rt.full_parameters():
            values = _repeated_with_less_memory(
                rt,
                lambda: dict(method.run(phase, batch, rt)),
                f"{phase.name} of step {rt.step + 1}",
            )
    else:
        values = _run_updates(method, phase, batch, rt, rt.groups[phase.group])
    return values | {f"time/{phase.name}_s": time.perf_counter() - began}


def _run_updates(
    method: Method, phase: Phase, batch: Any, rt: Runtime, group: OptimiserGroup
) -> dict[str, float]:
    """Run the updates of a round; return the mean of each metric over those that have it."""
    by_update: list[dict[str, float]] = []
    for number in range(rt.updates_per_round):
        rt.update_in_round = number
        values = _repeated_with_less_memory(
            rt, lambda: dict(method.run(phase, batch, rt)), f"step {rt.step + 1}", group
        )
        values |= _named_by_group(method, group, _update(rt, group))
        by_update.append(values)
        rt.updates += 1
        method.after_update(rt)
    rt.update_in_round = 0
    if rt.updates_per_round == 1:
        return by_update[0]
    measured: dict[str, list[float]] = {}
    for values in by_update:
        for key, value in values.items():
            measured.setdefault(key, []).append(value)
    means = {key: sum(values) / len(values) for key, values in measured.items()}
    return {**means, "updates": float(rt.updates)}


def _named_by_group(
    method: Method, group: OptimiserGroup, values: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the metrics of an update, with the group's name where a method has several groups."""
    if len({phase.group for phase in method.phases if phase.group}) == 1:
        return values
    return {f"{group.name}/{name}": value for name, value in values.items()}


def _repeated_with_less_memory(
    rt: Runtime, compute: Callable[[], R], what: str, group: OptimiserGroup | None = None
) -> R:
    """Return what `compute` returns; if memory runs out, call it again on smaller batches.

    With a `group` it accumulates the group's gradients. With several ranks the others cannot repeat
    in the middle of a phase, so that all restart from the checkpoint instead (`processes`).
    """
    # A repetition must draw the same numbers and count its tokens once.
    random, counters = memory.RandomState(rt.device), (rt.micro, rt.tokens, rt.compute)
    while True:
        try:
            return compute()
        except Exception as error:
            if not memory.is_out_of_memory(error) or not rt.can_shrink(samples=group is None):
                raise
            # Kept as text: the exception itself would keep its frames and their tensors alive.
            cause = memory.first_line(error)
            if rt.world.size > 1:
                raise OutOfMemory(cause, retry=True) from error
        # After the except clause, which drops the traceback: its frames hold the tensors that
        # filled the memory.
        if group is not None:
            group.discard_gradients()
        memory.release(rt.device)
        random.restore()
        rt.micro, rt.tokens, rt.compute = counters
        # Stays halved for the rest of the run: the next batch of this size would fail the same way.
        rt.micro_scale /= 2
        repeated, answers = (
            ("the step", "") if group else ("it", f" and {rt.generation_rows:,} answers")
        )
        rt.log.log(
            "warning",
            f"Memory ran out in {what} ({cause}); {repeated} is computed again, "
            f"{rt.micro_batch_tokens:,} tokens{answers} at a time.",
        )


def _update(rt: Runtime, group: OptimiserGroup) -> dict[str, float]:
    try:
        values = group.update()
        if SKIPPED in values:
            rt.log.log(
                "warning",
                f"The loss or its gradient was not a number in step {rt.step + 1}; the update of "
                f"{group.name} is skipped.",
            )
        return values
    except NotANumber as error:
        lower = "Lower the learning rate or the clip norm, and"
        if rt.saved_step < 0:
            # Without any good step the rate is less likely the cause than the loss itself.
            raise NotANumber(
                f"At step {rt.step + 1} {error}; no checkpoint had been written yet.",
                f"{lower} start a new run; at the first step, look at the objective as well.",
            ) from error
        raise NotANumber(
            f"At step {rt.step + 1} {error}; the last good checkpoint is that of step "
            f"{rt.saved_step}.",
            f"{lower} resume from that checkpoint or start a new run.",
        ) from error


def _evaluate(method: Method, rt: Runtime, when: str) -> EvaluationReport:

    def evaluate() -> EvaluationReport:
        with rt.events_at_the_end():
            return method.evaluate(rt, when)

    with rt.full_parameters():
        report = _repeated_with_less_memory(rt, evaluate, f"the evaluation after step {rt.step}")
    rt.evaluated_step = rt.step
    if (
        when != "before"
        and report.score is not None
        and (rt.best is None or report.score > rt.best[0])
    ):
        rt.best = (report.score, rt.step)
    rt.metrics(report.values)
    # The last sentence is part of the `end` event, so the log need not repeat it.
    if report.sentence and when != "after":
        moment = "Before training" if when == "before" else f"After step {rt.step:,}"
        rt.log.log("info", f"{moment}: {report.sentence}")
    return report

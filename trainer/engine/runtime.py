"""What a method may ask of the engine while it runs: counters, log, optimiser groups, processes,
progress and the wish to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor
from torch.nn import Module, Parameter

from trainer.engine.distributed.ranks import micro_scale_variable
from trainer.engine.distributed.world import World
from trainer.engine.optimisers import OptimiserGroup
from trainer.engine.outcome import DiskFull, Stopped
from trainer.events import EventLog
from trainer.spec.operation import Checkpoints, Compute

R = TypeVar("R")

PROGRESS_SECONDS = 0.5
SMALLEST_MICRO_BATCH = 16


class Runtime:
    """One run in one process. `world` are all its processes; what they hold and decide is the same
    everywhere.
    """

    def __init__(
        self,
        folder: Path,
        log: EventLog,
        device: torch.device,
        keep: Checkpoints,
        evaluate_every: int,
        world: World | None = None,
        settings: Compute | None = None,
    ) -> None:
        self.folder, self.log, self.device = folder, log, device
        self.world, self.settings = world or World(), settings or Compute()
        self.micro_scale = micro_scale_variable() or 1.0
        self.keep, self.evaluate_every = keep, evaluate_every
        self.groups: dict[str, OptimiserGroup] = {}
        self.step = self.round = self.micro = 0
        self.total_steps = 0
        self.tokens, self.compute = 0, 0.0
        self.stage = ""
        self.evaluated = self.saved = -1
        self.best: tuple[float, int] | None = None
        self.checkpoint_requested = False
        self.last_values: Mapping[str, float] = {}
        self._stop = ""
        self._progress: tuple[str, float] = ("", 0.0)
        self._process = psutil.Process()

    def group(self, name: str, parameters: Mapping[str, Parameter]) -> OptimiserGroup:
        """Register parameters under an optimiser group. Each rank holds all of them."""
        self.groups[name] = OptimiserGroup(name, parameters, self.world)
        return self.groups[name]

    def network(
        self, name: str, module: Module, blocks: Sequence[Module] = (), bfloat16: bool = False
    ) -> OptimiserGroup:
        """Register the parameters of a network that require gradients, placed as compute.parallel
        says; `blocks` are its layers.

        With `bfloat16`, `forward` computes in it. Call it before anything takes the network's
        parameters by name.
        """
        sharded = None
        if self.settings.parallel == "fsdp" and self.world.size > 1:
            from trainer.engine.distributed.sharding import Sharded

            sharded = Sharded(module, blocks, self.world)
        trained = {
            key: parameter
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.groups[name] = OptimiserGroup(name, trained, self.world, sharded, bfloat16)
        return self.groups[name]

    def normalise(self, group: str, z: float) -> None:
        """Set Z of the coming update, that of the whole round on every rank: the sums that
        `backward` gets are divided by it.
        """
        self.groups[group].normaliser = z

    def forward(self, compute: Callable[[], R], group: str) -> R:
        """Compute a micro-batch's loss, from the network's first layer to the objective:
        `rt.forward(lambda: …, group)`.

        What the gradient flows back from must be a tensor, or stand in a tuple, list or dict.
        """
        return self.groups[group].forward(compute)

    def backward(self, loss_sum: Tensor, group: str) -> None:
        """Add the gradient of an unnormalised sum over what this rank has computed."""
        self.micro += 1
        self.groups[group].backward(loss_sum)

    def micro_batches_to_run(self, own: int, group: str) -> int:
        """How many micro-batches this rank must compute if it has `own`: more where shards are
        fetched by all ranks together.

        Those beyond its own have rows of weight 0.
        """
        return self.world.max(own) if self.groups[group].sharded else own

    @property
    def micro_batch_tokens(self) -> int:
        """compute.micro_batch_tokens, or less after memory ran out."""
        return max(SMALLEST_MICRO_BATCH, int(self.settings.micro_batch_tokens * self.micro_scale))

    @property
    def can_shrink_micro_batch(self) -> bool:
        return self.micro_batch_tokens > SMALLEST_MICRO_BATCH

    @contextmanager
    def full_parameters(self) -> Iterator[None]:
        """Networks as if there were one process, to compute without gradients. The loop does this
        around all but phases with a group.
        """
        with ExitStack() as stack:
            for group in self.groups.values():
                if group.sharded:
                    stack.enter_context(group.sharded.full_parameters())
            yield

    def refresh(self) -> None:
        """Say that parameters were given other values, so that networks compute with these."""
        for group in self.groups.values():
            if group.sharded:
                group.sharded.refresh()

    def count(self, tokens: int, compute: float) -> None:
        """Add tokens that were sampled or trained on, and the floating-point operations they
        took.
        """
        self.tokens += tokens
        self.compute += compute

    def emit(self, type: str, **fields: Any) -> None:
        self.log.emit(type, step=self.step, **fields)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.emit(
            "metrics",
            stage=self.stage,
            tokens=self.tokens,
            compute=self.compute,
            values=dict(values),
        )

    def progress(self, phase: str, done: int, of: int) -> None:
        """Say how far a phase is, at most twice a second. Raises Stopped if that was asked for:
        call it where that loses nothing.

        A rank among several goes on until the next step, where all leave together.
        """
        self.emit_progress(phase, done, of)
        if self.world.size == 1:
            self.raise_if_stopped()

    def emit_progress(self, phase: str, done: int, of: int) -> None:
        now, (shown, at) = time.monotonic(), self._progress
        if phase != shown or done >= of or now - at >= PROGRESS_SECONDS:
            self._progress = phase, now
            self.emit(
                "progress",
                total_steps=self.total_steps,
                stage=self.stage,
                phase=phase,
                done=done,
                of=of,
            )

    def request_stop(self, reason: str) -> None:
        self._stop = reason

    def raise_if_stopped(self) -> None:
        """Raise where the run is to end here: on request, or because the event log cannot be
        written. All ranks must ask together.
        """
        if self.world.any(bool(self.log.failure)):
            trouble = self.log.failure or "the event log cannot be written"
            raise DiskFull(
                f"The run stopped after step {self.step}: {trouble}.",
                "Free some space and resume the run.",
            )
        if self.world.any(bool(self._stop)):
            raise Stopped(self._stop or "The run was asked to stop.")

    def memory(self) -> dict[str, float]:
        values = {"memory/rss_bytes": float(self._process.memory_info().rss)}
        if self.device.type == "cuda":
            values["memory/device_bytes"] = float(torch.cuda.max_memory_allocated(self.device))
        return values

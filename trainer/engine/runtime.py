"""What the engine offers to a method: counters, log, optimiser groups, processes and progress."""

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

# Least time between two progress events of a phase, which may report every answer.
PROGRESS_SECONDS = 0.5
# The lower bound of compute.micro_batch_tokens in the definition.
MIN_MICRO_BATCH_TOKENS = 16


class Runtime:
    """One run in one process; `world` are all processes of the run, whose state is the same."""

    def __init__(
        self,
        folder: Path,
        log: EventLog,
        device: torch.device,
        checkpoints: Checkpoints,
        evaluate_every: int,
        world: World | None = None,
        settings: Compute | None = None,
    ) -> None:
        self.folder, self.log, self.device = folder, log, device
        self.world, self.settings = world or World(), settings or Compute()
        self.micro_scale = micro_scale_variable() or 1.0
        self.checkpoints, self.evaluate_every = checkpoints, evaluate_every
        self.groups: dict[str, OptimiserGroup] = {}
        # A step is a round as people count it, and may have several updates.
        self.step = self.round = self.updates = self.micro = 0
        self.updates_per_round, self.update_in_round = 1, 0
        self.total_steps = 0
        self.tokens, self.compute = 0, 0.0
        self.stage = ""
        # −1, because step 0 is evaluated and may be saved too.
        self.evaluated_step = self.saved_step = -1
        self.best: tuple[float, int] | None = None  # (score, step) of the best evaluation
        self.checkpoint_requested = False
        self.last_values: Mapping[str, float] = {}
        self._stop_reason = ""
        self._progress: tuple[str, float] = ("", 0.0)
        self._process = psutil.Process()
        self._held_events: list[tuple[str, dict[str, Any]]] | None = None

    def group(self, name: str, parameters: Mapping[str, Parameter]) -> OptimiserGroup:
        """Register parameters under an optimiser group. Each rank holds all of them."""
        self.groups[name] = OptimiserGroup(name, parameters, self.world)
        return self.groups[name]

    def network(
        self, name: str, module: Module, blocks: Sequence[Module] = (), bfloat16: bool = False
    ) -> OptimiserGroup:
        """Register a network's parameters that require gradients, placed as compute.parallel says.

        `blocks` are the network's layers. With `bfloat16`, `forward` computes in it. Call this
        before anything refers to the network's parameters by name, because sharding replaces them.
        """
        sharded = None
        if self.settings.parallel == "fsdp" and self.world.size > 1:
            # FSDP2 and its DTensor take a second to import, which other runs need not pay.
            from trainer.engine.distributed.sharding import Sharded

            sharded = Sharded(module, blocks, self.world)
        # After sharding, which replaces the parameters by shards.
        trained = {
            key: parameter
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.groups[name] = OptimiserGroup(name, trained, self.world, sharded, bfloat16)
        return self.groups[name]

    def normalise(self, group: str, z: float) -> None:
        """Set Z of the next update, by which the sums passed to `backward` are divided.

        Z is that of all rows of the update and the same on every rank.
        """
        self.groups[group].normaliser = z

    def forward(self, compute: Callable[[], R], group: str) -> R:
        """Compute a micro-batch's loss by `compute`, from the first layer to the objective.

        What the gradient flows back from must be a tensor, or part of a tuple, list or dict.
        """
        return self.groups[group].forward(compute)

    def backward(self, loss_sum: Tensor, group: str) -> None:
        """Add the gradient of an unnormalised sum over the rows of this rank."""
        self.micro += 1
        self.groups[group].backward(loss_sum)

    def micro_batches_to_run(self, count: int, group: str) -> int:
        """Return how many micro-batches a rank with `count` of its own must compute.

        It is the largest count of all ranks if the group is sharded, because all ranks fetch shards
        together. The additional micro-batches have rows of weight 0.
        """
        return self.world.max(count) if self.groups[group].sharded else count

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of a micro-batch: compute.micro_batch_tokens, or less after memory ran out."""
        return max(MIN_MICRO_BATCH_TOKENS, int(self.settings.micro_batch_tokens * self.micro_scale))

    @property
    def generation_rows(self) -> int:
        """Answers sampled in one batch: compute.generation_rows, or less after memory ran out."""
        return max(1, int(self.settings.generation_rows * self.micro_scale))

    def can_shrink(self, samples: bool) -> bool:
        """Return whether batches can become smaller; `samples`: also those of sampled answers."""
        return self.micro_batch_tokens > MIN_MICRO_BATCH_TOKENS or (
            samples and self.generation_rows > 1
        )

    @contextmanager
    def events_at_the_end(self) -> Iterator[None]:
        """Hold events back until the context ends, and drop them if it fails.

        So work that is repeated after an error is not logged twice. Progress and messages are
        written at once.
        """
        held: list[tuple[str, dict[str, Any]]] = []
        self._held_events = held
        try:
            yield
        finally:
            self._held_events = None
        for type, fields in held:
            self.log.emit(type, **fields)

    @contextmanager
    def full_parameters(self) -> Iterator[None]:
        """Hold full networks as in a single process, for computing without gradients.

        The loop does this around everything but phases with an optimiser group.
        """
        with ExitStack() as stack:
            for group in self.groups.values():
                if group.sharded:
                    stack.enter_context(group.sharded.full_parameters())
            yield

    def refresh(self) -> None:
        """Make networks compute with parameters that a method has changed outside of an update."""
        for group in self.groups.values():
            if group.sharded:
                group.sharded.refresh()

    def count_tokens(self, tokens: int) -> None:
        """Add tokens of answers that a training step uses, each once."""
        self.tokens += tokens

    def count_operations(self, operations: float) -> None:
        """Add floating-point operations, whatever they serve."""
        self.compute += operations

    def emit(self, type: str, **fields: Any) -> None:
        fields = {"step": self.step, **fields}
        if self._held_events is not None and type != "progress":
            self._held_events.append((type, fields))
        else:
            self.log.emit(type, **fields)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.emit(
            "metrics",
            stage=self.stage,
            tokens=self.tokens,
            compute=self.compute,
            values=dict(values),
        )

    def progress(self, phase: str, done: int, of: int) -> None:
        """Emit the progress of a phase, at most twice a second.

        Raises Stopped on request, so it must be called only where no unsaved work is lost. A rank
        among several continues until the next step, where all stop together.
        """
        self.emit_progress(phase, done, of)
        if self.world.size == 1:
            self.raise_if_stopped()

    def emit_progress(self, phase: str, done: int, of: int) -> None:
        now, (last_phase, last_time) = time.monotonic(), self._progress
        if phase != last_phase or done >= of or now - last_time >= PROGRESS_SECONDS:
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
        self._stop_reason = reason

    def raise_if_stopped(self) -> None:
        """Raise Stopped on request, or DiskFull if the event log cannot be written.

        All ranks must call this together.
        """
        # The log before the request: a checkpoint of a stopped run would meet the same full disk.
        if self.world.any(bool(self.log.failure)):
            # Only the leading rank knows the reason; the others stop because it does.
            failure = self.log.failure or "the event log cannot be written"
            raise DiskFull(
                f"The run stopped after step {self.step}: {failure}.",
                "Free some space and resume the run.",
            )
        if self.world.any(bool(self._stop_reason)):
            raise Stopped(self._stop_reason or "The run was asked to stop.")

    def memory(self) -> dict[str, float]:
        values = {"memory/rss_bytes": float(self._process.memory_info().rss)}
        if self.device.type == "cuda":
            values["memory/device_bytes"] = float(torch.cuda.max_memory_allocated(self.device))
        return values

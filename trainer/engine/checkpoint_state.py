"""Write the state of the loop into a checkpoint, and restore it.

Tensors are written whole, however many ranks held them, and every rank takes its shards back when
the checkpoint is loaded. A run may therefore resume with another number of processes. All ranks
must save together, because shards are gathered; only the leading rank writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from trainer.engine import checkpoints
from trainer.engine.checkpoints import Snapshot
from trainer.engine.distributed.ranks import micro_scale_variable
from trainer.engine.distributed.tensors import full_tensor

if TYPE_CHECKING:
    from trainer.engine.loop import Method
    from trainer.engine.runtime import Runtime


def save(method: Method, rt: Runtime) -> None:
    """Write a checkpoint of this step, emit its event, and remove checkpoints not to be kept."""
    rt.emit_progress("checkpoint", 0, 1)
    # Before the return below: gathering shards needs every rank, writing only the leading one.
    snapshot = _snapshot(method, rt)
    rt.saved_step, rt.checkpoint_requested = rt.step, False
    if not rt.world.is_leader:
        return
    folder, size = checkpoints.save(rt.folder / "checkpoints", snapshot)
    rt.emit(
        "checkpoint",
        stage=rt.stage,
        folder=f"checkpoints/{folder.name}",
        bytes=size,
        best=rt.best is not None and rt.best[1] == rt.step,
        metrics=dict(rt.last_values),
    )
    # Only after the new checkpoint is complete, so that a crash in between leaves one too many and
    # never one too few.
    for old in checkpoints.removable(
        folder.parent,
        rt.checkpoints.keep_last,
        rt.best[1] if rt.checkpoints.keep_best and rt.best else None,
    ):
        checkpoints.remove(old)
        rt.log.emit(
            "checkpoint_removed",
            step=int(old.name.removeprefix("step-")),
            folder=f"checkpoints/{old.name}",
        )


def restore(method: Method, rt: Runtime, snapshot: Snapshot) -> None:
    """Restore the loop, the parameters and the method from a snapshot."""
    loop = snapshot.state["loop"]
    rt.step, rt.saved_step, rt.stage = snapshot.step, snapshot.step, snapshot.stage
    rt.round, rt.micro, rt.tokens, rt.compute = (
        loop["round"],
        loop["micro"],
        loop["tokens"],
        loop["compute"],
    )
    # Checkpoints of older versions have one update in each round.
    rt.updates = loop.get("updates", rt.round)
    rt.evaluated_step, rt.best = loop["evaluated"], tuple(loop["best"]) if loop["best"] else None
    # The variable comes first: ranks that were started again because memory ran out load a
    # checkpoint from before.
    rt.micro_scale = micro_scale_variable() or loop.get("micro_scale", 1.0)
    rt.last_values = snapshot.metrics
    for name, group in rt.groups.items():
        group.load(snapshot.tensors[name], snapshot.tensors["optimiser"])
    method.load(snapshot)


def _snapshot(method: Method, rt: Runtime) -> Snapshot:
    state = method.state()
    trained = {name: _full_tensors(rt, group.parameters) for name, group in rt.groups.items()}
    moments = {
        path: value
        for group in rt.groups.values()
        for path, value in _full_tensors(rt, group.moments()).items()
    }
    loop = {
        "round": rt.round,
        "updates": rt.updates,
        "micro": rt.micro,
        "tokens": rt.tokens,
        "compute": rt.compute,
        "evaluated": rt.evaluated_step,
        "best": rt.best,
        "micro_scale": rt.micro_scale,
    }
    of_method = {name: _full_tensors(rt, tensors) for name, tensors in state.tensors.items()}
    return Snapshot(
        rt.step,
        rt.stage,
        {**trained, "optimiser": moments, **of_method},
        {"loop": loop, "method": dict(state.values)},
        rt.last_values,
        state.files,
    )


def _full_tensors(rt: Runtime, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors on the leading rank; the others only take part in gathering shards."""
    if rt.world.size == 1:
        return {name: tensor.detach() for name, tensor in tensors.items()}
    full: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = full_tensor(tensor)
        # To the CPU one by one: a GPU that holds only shards has no room for the whole network.
        if rt.world.is_leader:
            full[name] = gathered.cpu()
    return full

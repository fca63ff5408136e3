"""What a checkpoint holds of the loop, and the loop put back from it.

Tensors are written whole, whatever number of ranks held them, and every rank takes its part of them
back: a run may go on with another number of processes. All ranks must save together, because shards
are gathered; only the leading one writes.
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
    """Write a checkpoint of this step, say so, and remove those that need not be kept."""
    rt.emit_progress("checkpoint", 0, 1)
    snapshot = _snapshot(method, rt)
    rt.saved, rt.checkpoint_requested = rt.step, False
    if not rt.world.is_leader:
        return
    folder, size = checkpoints.save(rt.folder / "checkpoints", snapshot)
    best = rt.best is not None and rt.best[1] == rt.step
    name = f"checkpoints/{folder.name}"
    rt.emit(
        "checkpoint",
        stage=rt.stage,
        folder=name,
        bytes=size,
        best=best,
        metrics=dict(rt.last_values),
    )
    for old in checkpoints.removable(
        folder.parent, rt.keep.keep_last, rt.best[1] if rt.keep.keep_best and rt.best else None
    ):
        checkpoints.remove(old)
        rt.log.emit(
            "checkpoint_removed",
            step=int(old.name.removeprefix("step-")),
            folder=f"checkpoints/{old.name}",
        )


def restore(method: Method, rt: Runtime, snapshot: Snapshot) -> None:
    """Put everything back as it was when the snapshot was taken."""
    loop = snapshot.state["loop"]
    rt.step, rt.saved, rt.stage = snapshot.step, snapshot.step, snapshot.stage
    rt.round, rt.micro, rt.tokens, rt.compute = (
        loop["round"],
        loop["micro"],
        loop["tokens"],
        loop["compute"],
    )
    rt.evaluated, rt.best = loop["evaluated"], tuple(loop["best"]) if loop["best"] else None
    rt.micro_scale = micro_scale_variable() or loop.get("micro_scale", 1.0)
    rt.last_values = snapshot.metrics
    for name, group in rt.groups.items():
        group.load(snapshot.tensors[name], snapshot.tensors["optimiser"])
    method.load(snapshot)


def _snapshot(method: Method, rt: Runtime) -> Snapshot:
    state = method.state()
    trained = {name: _whole(rt, group.parameters) for name, group in rt.groups.items()}
    moments = {
        path: value
        for group in rt.groups.values()
        for path, value in _whole(rt, group.moments()).items()
    }
    loop = {
        "round": rt.round, "micro": rt.micro, "tokens": rt.tokens, "compute": rt.compute, "evaluated": rt.evaluated, "best": rt.best,
        "micro_scale": rt.micro_scale,
    }  # fmt: skip
    own = {name: _whole(rt, tensors) for name, tensors in state.tensors.items()}
    values = {"loop": loop, "method": dict(state.values)}
    return Snapshot(
        rt.step,
        rt.stage,
        {**trained, "optimiser": moments, **own},
        values,
        rt.last_values,
        state.files,
    )


def _whole(rt: Runtime, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors for the rank that writes them; the others only help to gather shards."""
    if rt.world.size == 1:
        return {name: tensor.detach() for name, tensor in tensors.items()}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = full_tensor(tensor)
        if rt.world.is_leader:
            found[name] = gathered.cpu()
    return found

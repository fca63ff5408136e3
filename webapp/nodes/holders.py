"""What a holder of devices is called."""

from __future__ import annotations


def holder_of(public_id: str, attempt: int) -> str:
    """An attempt of a run."""
    return f"run/{public_id}/{attempt}"


def shard_of(holder: str) -> int | None:
    """The part of a job that a holder works on; None if it is something else."""
    kind, _, rest = holder.partition("/")
    shard, _, _ = rest.partition("/")
    return int(shard) if kind == "shard" and shard.isdecimal() else None


def run_of(holder: str) -> tuple[str, int] | None:
    """The run and the attempt that a holder is; None if it is something else."""
    kind, _, rest = holder.partition("/")
    public_id, _, attempt = rest.partition("/")
    return (public_id, int(attempt)) if kind == "run" and attempt.isdecimal() else None

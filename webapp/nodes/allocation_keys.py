"""The text in `Device.allocated_to`: `run/<public id>/<attempt>` or `shard/<id>/<copy>`."""

from __future__ import annotations


def attempt_key(public_id: str, attempt: int) -> str:
    """Return the key of an attempt of a run."""
    return f"run/{public_id}/{attempt}"


def shard_from_key(key: str) -> int | None:
    """Return the id of the shard in the key of a shard's copy; None for any other key."""
    kind, _, identity = key.partition("/")
    shard, _, _ = identity.partition("/")
    return int(shard) if kind == "shard" and shard.isdecimal() else None


def attempt_from_key(key: str) -> tuple[str, int] | None:
    """Return public id and attempt in the key of an attempt; None for any other key."""
    kind, _, identity = key.partition("/")
    public_id, _, attempt = identity.partition("/")
    return (public_id, int(attempt)) if kind == "run" and attempt.isdecimal() else None

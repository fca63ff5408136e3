"""What one event of a log becomes in the tables: pure functions from an event to rows.

A log may come from anywhere, so nothing in it is trusted: what cannot be stored is made storable or
reported, and one bad event never holds up the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from webapp.runs import event_types
from webapp.runs.models import Event, RolloutRow


@dataclass(frozen=True)
class BatchKey:
    """Where rows of a batch belong."""

    run_id: int
    attempt: int
    batch_number: int


def storable(value: Any) -> Any:
    """`value` as Postgres can hold it: no NUL and no half characters in text, no NaN outside a
    string.
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return (
            value
            if math.isfinite(value)
            else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        )
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list | tuple) else value


def validated(event: dict[str, Any]) -> dict[str, Any]:
    """The event as its type reads it, for pages to rely on: storable but for the numbers of series
    and rollouts, which have columns.

    Raises ValueError with what is wrong in a few words.
    """
    try:
        model = event_types.check(storable(event))
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    read = model.model_dump()
    return read if isinstance(model, event_types.Metrics | event_types.Rollouts) else storable(read)


def unreadable_event(event: dict[str, Any], problem: Exception, wall_time: float) -> dict[str, Any]:
    """A warning in batch_key of an event that cannot be stored, under the same number."""
    message = storable(
        f"Event {event['seq']} of the log ({event.get('type')}) could not be read: {problem}."
    )
    return {
        "seq": event["seq"],
        "wall_time": wall_time,
        "type": "log",
        "level": "warning",
        "message": message[:500],
    }


def event_row(batch_key: BatchKey, event: dict[str, Any]) -> Event:
    """The row of any event but `metrics`. A rollouts event leaves its index to the rollout rows."""
    left_out = {
        "v",
        "attempt",
        "seq",
        "type",
        "step",
        "wall_time",
        "monotonic",
        *(("index",) if event["type"] == "rollouts" else ()),
    }
    return Event(
        run_id=batch_key.run_id,
        attempt=batch_key.attempt,
        seq=event["seq"],
        type=event["type"],
        step=event.get("step"),
        wall_time=moment(event["wall_time"]),
        payload={key: value for key, value in event.items() if key not in left_out},
        batch_number=batch_key.batch_number,
    )


def rollout_rows(batch_key: BatchKey, event: dict[str, Any]) -> Iterator[RolloutRow]:
    """One row for each kept rollout of a checked event."""
    for offset, entry in enumerate(event["index"]):
        yield RolloutRow(
            run_id=batch_key.run_id,
            attempt=batch_key.attempt,
            seq=event["seq"],
            offset=offset,
            step=event["step"],
            stage=str(event.get("stage") or "")[:32],
            role=event["role"][:12],
            problem=entry["problem"][:200],
            source=entry["source"][:10],
            sample=entry["sample"],
            verdict=entry["verdict"],
            truncated=entry["truncated"],
            length=entry["length"],
            weight=entry["weight"],
            divergence=entry["divergence"],
            excerpt=entry["excerpt"][:240],
            artifact=event["file"]["sha256"],
        )


def moment(wall_time: float) -> datetime:
    """Unix seconds as a moment."""
    return datetime.fromtimestamp(wall_time, UTC)

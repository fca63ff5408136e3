"""Pure functions from an event of a log to database rows.

A log may come from anywhere, so nothing in it is trusted: a value that cannot be stored is made
storable or reported, and one bad event never blocks the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from trainer import json_numbers
from trainer.events.event_types import check
from trainer.events.measurement_events import RolloutsEvent
from trainer.events.progress_events import MetricsEvent
from webapp.runs.models import Evaluation, Event, RolloutRow


@dataclass(frozen=True)
class BatchKey:
    """What all rows of one ingested batch share."""

    run_id: int
    attempt: int
    batch_number: int


def storable(value: Any) -> Any:
    """Return `value` as Postgres can store it.

    Text has no NUL and no lone surrogates; NaN and infinities become strings, as JSON needs.
    """
    if isinstance(value, str):
        # Neither a text column nor jsonb takes NUL, and half of a surrogate pair is not UTF-8.
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return json_numbers.encode(value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list | tuple) else value


def validated(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event as its type defines it, so that pages can rely on its fields.

    Everything is storable except numbers of metrics and rollouts, whose columns take NaN.
    Raises ValueError with a short reason.
    """
    try:
        # Made storable first, because pydantic refuses text with half of a surrogate pair.
        model = check(storable(event))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    fields = model.model_dump()
    has_columns = isinstance(model, MetricsEvent | RolloutsEvent)
    return fields if has_columns else storable(fields)


def unreadable_event(event: dict[str, Any], error: Exception, wall_time: float) -> dict[str, Any]:
    """Return a warning that replaces an event that cannot be stored, under the same number."""
    message = storable(
        f"Event {event['seq']} of the log ({event.get('type')}) could not be read: {error}."
    )
    return {
        "seq": event["seq"],
        "wall_time": wall_time,
        "type": "log",
        "level": "warning",
        # The error may quote the whole event.
        "message": message[:500],
    }


def event_row(batch_key: BatchKey, event: dict[str, Any]) -> Event:
    """Return the row of any event but `metrics`; the index of rollouts has rows of its own."""
    columns = {
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
        payload={key: value for key, value in event.items() if key not in columns},
        batch_number=batch_key.batch_number,
    )


def rollout_rows(batch_key: BatchKey, event: dict[str, Any]) -> Iterator[RolloutRow]:
    """Yield one row for each kept rollout of a validated event."""
    for offset, entry in enumerate(event["index"]):
        yield RolloutRow(
            run_id=batch_key.run_id,
            attempt=batch_key.attempt,
            seq=event["seq"],
            offset=offset,
            step=event["step"],
            # Cut to their columns: a long name must not refuse the rollouts of a step.
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


def evaluation_row(batch_key: BatchKey, event: dict[str, Any]) -> Evaluation:
    """Return the row of a validated `evaluated` event."""
    return Evaluation(
        run_id=batch_key.run_id,
        attempt=batch_key.attempt,
        seq=event["seq"],
        step=event["step"],
        role=event["role"][:12],
        when=event["when"],
        set_fingerprint=event["fingerprint"][:64],
        conditions=event["conditions"],
        problem_count=event["problems"],
        artifact=event["file"]["sha256"],
    )


def moment(wall_time: float) -> datetime:
    """Return Unix seconds as a datetime in UTC."""
    return datetime.fromtimestamp(wall_time, UTC)

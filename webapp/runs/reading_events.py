"""What one event of a log becomes in the tables: pure functions from an event to rows.

A log may come from anywhere, so nothing in it is trusted: what cannot be stored is made storable or reported, and one bad event never
holds up the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webapp.runs.models import Event, RolloutRow

LARGEST = 2**62
LATEST = 2**35  # seconds; beyond the year 3000


class Unreadable(ValueError):
    """An event that does not say what its type must say; the message says what is wrong."""


@dataclass(frozen=True)
class Place:
    """Where rows of a batch belong."""

    run_id: int
    attempt: int
    news: int


def clean(value: Any) -> Any:
    """`value` as Postgres can hold it: no NUL and no half characters in text, no NaN outside a string."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def checked(event: dict[str, Any]) -> dict[str, Any]:
    """The event, cleaned, if its head and numbers can be stored. Raises Unreadable."""
    found: dict[str, Any] = clean(event)
    if not isinstance(found.get("type"), str):
        raise Unreadable("it has no type")
    _number(found, "wall_time", 0, LATEST)
    if found.get("step") is not None:
        _whole(found, "step", -1)
    if found["type"] == "metrics":
        _check_metrics(found)
    if found["type"] == "rewind":
        _whole(found, "step", -1)
    return found


def unreadable(event: dict[str, Any], problem: Exception, wall_time: float) -> dict[str, Any]:
    """A warning in place of an event that cannot be stored, under the same number."""
    message = clean(f"Event {event['seq']} of the log ({event.get('type')}) could not be read: {problem}.")
    return {"seq": event["seq"], "wall_time": wall_time, "type": "log", "level": "warning", "message": message[:500]}


def event_row(place: Place, event: dict[str, Any]) -> Event:
    """The row of any event but `metrics`. A rollouts event leaves its index to the rollout rows."""
    left_out = {"v", "attempt", "seq", "type", "step", "wall_time", "monotonic", *(("index",) if event["type"] == "rollouts" else ())}
    return Event(
        run_id=place.run_id,
        attempt=place.attempt,
        seq=event["seq"],
        type=event["type"][:20],
        step=event.get("step"),
        wall_time=moment(event["wall_time"]),
        payload={key: value for key, value in event.items() if key not in left_out},
        news=place.news,
    )


def rollout_rows(place: Place, event: dict[str, Any]) -> Iterator[RolloutRow]:
    """One row for each kept rollout. Raises KeyError, TypeError or ValueError for a malformed index."""
    for offset, entry in enumerate(event["index"]):
        yield RolloutRow(
            run_id=place.run_id,
            attempt=place.attempt,
            seq=event["seq"],
            offset=offset,
            step=int(event["step"]),
            stage=str(event.get("stage") or "")[:32],
            role=str(event.get("role") or "")[:12],
            problem=str(entry["problem"])[:200],
            source=str(entry["source"])[:10],
            sample=int(entry.get("sample") or 0),
            verdict=None if entry.get("verdict") is None else bool(entry["verdict"]),
            truncated=bool(entry.get("truncated")),
            length=int(entry["length"]),
            weight=_optional(entry.get("weight")),
            divergence=_optional(entry.get("divergence")),
            excerpt=str(entry.get("excerpt") or "")[:240],
            artifact=str(event["file"]["sha256"])[:64],
        )


def moment(wall_time: float) -> datetime:
    """Unix seconds as a moment."""
    return datetime.fromtimestamp(wall_time, UTC)


def _check_metrics(event: dict[str, Any]) -> None:
    _whole(event, "step", -1)
    event["tokens"], event["compute"] = event.get("tokens") or 0, event.get("compute") or 0.0
    _whole(event, "tokens", 0)
    _number(event, "compute", 0, 1e30)
    if not isinstance(event.get("values"), dict):
        raise Unreadable("it has no values")
    for key, value in event["values"].items():
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            raise Unreadable(f"{key} is no number: {str(value)[:40]}") from None


def _number(event: dict[str, Any], name: str, low: float, high: float) -> None:
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Unreadable(f"{name} is {str(value)[:40]}")


def _whole(event: dict[str, Any], name: str, low: int) -> None:
    _number(event, name, low, LARGEST)
    if event[name] != int(event[name]):
        raise Unreadable(f"{name} is {event[name]}, which is no whole number")
    event[name] = int(event[name])


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)

"""The declarations of all types of events, by the name under which the log has them.

An event of an unknown type needs only its type and time.
"""

from __future__ import annotations

from typing import Any, get_args

from trainer.events.measurement_events import (
    CalibrationEvent,
    EvaluatedEvent,
    EvaluationEvent,
    PipelineEvent,
    PrivilegedEvent,
    ProblemsEvent,
    RolloutsEvent,
    SnrEvent,
    TokenRegionsEvent,
)
from trainer.events.progress_events import (
    CheckpointEvent,
    CheckpointRemovedEvent,
    EndEvent,
    EnvironmentEvent,
    LogEvent,
    MetricsEvent,
    ProblemSetEvent,
    ProgressEvent,
    RewindEvent,
)
from trainer.events.values import EventHead

DECLARATIONS: tuple[type[EventHead], ...] = (
    EnvironmentEvent,
    ProblemSetEvent,
    ProblemsEvent,
    MetricsEvent,
    RolloutsEvent,
    EvaluationEvent,
    EvaluatedEvent,
    CalibrationEvent,
    TokenRegionsEvent,
    PrivilegedEvent,
    PipelineEvent,
    SnrEvent,
    CheckpointEvent,
    CheckpointRemovedEvent,
    ProgressEvent,
    LogEvent,
    RewindEvent,
    EndEvent,
)
EVENT_TYPES: dict[str, type[EventHead]] = {
    get_args(declaration.model_fields["type"].annotation)[0]: declaration
    for declaration in DECLARATIONS
}


def check(event: dict[str, Any]) -> EventHead:
    """Return the event as its type. Raises pydantic.ValidationError if a field does not fit."""
    # A type that is not text cannot be looked up; `EventHead` refuses it with a reason.
    kind = event.get("type")
    return EVENT_TYPES.get(kind if isinstance(kind, str) else "", EventHead).model_validate(event)

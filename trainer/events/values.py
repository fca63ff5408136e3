"""Types of the fields of events, and the base classes of their declarations.

A declaration says what pages rely on: an event that lacks a required field, or has a value that
does not fit, is refused by the ingest. Unknown fields are stored as they are, because a log may
come from another version or program.

A log writes numbers that are not finite as the strings "NaN", "Infinity" and "-Infinity", because
JSON has no such numbers. Series store them. In other events they mean that nothing was measured:
they become None, and an event whose page cannot do without the number is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from trainer import json_numbers

# The bounds are half of the range of a bigint column. A rewind to the state before the first update
# has the step -1.
Whole = Annotated[int, Field(ge=-1, le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Change = Annotated[int, Field(ge=-(2**62), le=2**62)]
Amount = Annotated[float, Field(ge=0, le=1e30)]
# Shares are sums of rounded floats, so they may miss 0 or 1 by this much.
ROUNDING = 1e-6


def none_unless_finite(value: Any) -> Any:
    """Return the number, pair or rate as it is, or None if any of its numbers is not finite."""
    if isinstance(value, float | str):
        return None if json_numbers.is_name(str(value)) else value
    if isinstance(value, list):
        return None if any(none_unless_finite(item) is None for item in value) else value
    # A rate without its number says nothing, however well its interval is known.
    if isinstance(value, dict) and "pass_rate" in value:
        return None if none_unless_finite(value["pass_rate"]) is None else value
    return value


def require_increasing(edges: list[float]) -> list[float]:
    """Return the edges. Raises ValueError unless each is larger than the one before."""
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("edges must increase")
    return edges


Value = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Large = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=-ROUNDING, le=1 + ROUNDING, allow_inf_nan=False)]
Measured = Annotated[Value | None, BeforeValidator(none_unless_finite)]
MeasuredLarge = Annotated[Large | None, BeforeValidator(none_unless_finite)]
MeasuredShare = Annotated[Share | None, BeforeValidator(none_unless_finite)]
Interval = tuple[Share, Share]
MeasuredInterval = Annotated[Interval | None, BeforeValidator(none_unless_finite)]
Edges = Annotated[
    list[Value], Field(min_length=2, max_length=200), AfterValidator(require_increasing)
]


@dataclass(frozen=True)
class Recorded:
    """Metadata of a field on which no page relies: the type that the trainer writes.

    The ingest stores the field as it is, whatever its type, and adds nothing where it is missing.
    """

    type: Any


class Missing:
    """The default of a recorded field: the event does not have it."""


def recorded(description: str) -> Any:
    """Return the default of a field that is annotated as `Recorded`."""
    return Field(
        default=Missing, exclude_if=lambda value: value is Missing, description=description
    )


class EventPart(BaseModel):
    """A nested object of an event; unknown fields are stored."""

    model_config = ConfigDict(extra="allow")


class EventHead(EventPart):
    """The fields of every event. Wall time is in Unix seconds, up to the year 3000."""

    type: Annotated[str, Field(max_length=20)]
    wall_time: Annotated[float, Field(ge=0, le=2**35)]
    step: Whole | None = None


class StepEvent(EventHead):
    """An event about the state after `step` steps."""

    step: Whole = Field(description="steps done")


class SideFile(EventPart):
    """A file that the trainer wrote beside its log, named by its content."""

    name: str = Field(description="file name, in the attempt's folder `side`")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="hash of the content"
    )
    rows: Annotated[Any, Recorded(int)] = recorded("rows of the table")

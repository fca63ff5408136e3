"""What each type of event must say, as pages rely on it. Fields beyond these are kept; an unknown type needs only its time.

Numbers may be the strings "NaN", "Infinity" and "-Infinity": JSON has no others.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Whole = Annotated[int, Field(ge=-1, le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Amount = Annotated[float, Field(ge=0, le=1e30)]
Interval = tuple[float, float]


class Head(BaseModel):
    """The part that every event has. Wall time is in Unix seconds, up to the year 3000."""

    model_config = ConfigDict(extra="allow")
    type: Annotated[str, Field(max_length=20)]
    wall_time: Annotated[float, Field(ge=0, le=2**35)]
    step: Whole | None = None


class Metrics(Head):
    step: Whole
    tokens: Count = 0
    compute: Amount = 0.0
    values: dict[str, float]


class File(BaseModel):
    """A side file of the attempt."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ProblemSet(Head):
    role: str
    fingerprint: str
    count: Count
    set_aside: Count
    file: File | None = None


class Problems(Head):
    step: Whole
    role: str
    reason: str
    k: Count
    ids: list[str]
    passed: list[Count]
    verdicts: list[Count]
    weights: list[float | None] | None = None


class Rollout(BaseModel):
    problem: Annotated[str, Field(min_length=1)]
    source: str
    sample: Annotated[int, Field(ge=0, lt=2**31)] = 0
    verdict: bool | None = None
    truncated: bool = False
    length: Annotated[int, Field(ge=0, lt=2**31)]
    weight: float | None = None
    divergence: float | None = None
    excerpt: str = ""


class Rollouts(Head):
    step: Whole
    stage: str = ""
    role: str
    file: File
    kept: Count
    of: Count
    index: list[Rollout]


class Histogram(Head):
    step: Whole
    key: str
    edges: list[float]
    counts: list[float]


class Bin(BaseModel):
    low: float
    high: float
    n: Count
    snr: float | None
    interval: Interval | None = None


class Snr(Head):
    step: Whole
    bins: list[Bin]


class Checkpoint(Head):
    step: Whole
    stage: str = ""
    folder: Annotated[str, Field(max_length=255)]
    best: bool = False
    metrics: dict[str, float | None] = Field(default_factory=dict)


class CheckpointRemoved(Head):
    step: Whole
    folder: Annotated[str, Field(max_length=255)]


class Group(BaseModel):
    by: str
    name: str
    n: Count
    pass_rate: float
    interval: Interval | None = None


class Difference(BaseModel):
    pass_rate: float
    interval: Interval


class Evaluation(Head):
    step: Whole
    when: Literal["before", "during", "after"]
    role: str
    pass_rate: float | None
    interval: Interval | None = None
    pass_at: dict[str, float | None] | None = None
    groups: list[Group] = Field(default_factory=list)
    difference: Difference | None = None


class Progress(Head):
    total_steps: Count | None = None
    stage: str = ""
    phase: str
    done: Count | None = None
    of: Count | None = None


class Log(Head):
    level: str
    message: str


class Rewind(Head):
    step: Whole


class End(Head):
    outcome: Literal["completed", "stopped", "failed"]
    reason: str = ""
    remedy: str = ""


TYPES: dict[str, type[Head]] = {
    "metrics": Metrics,
    "problem_set": ProblemSet,
    "problems": Problems,
    "rollouts": Rollouts,
    "histogram": Histogram,
    "snr": Snr,
    "checkpoint": Checkpoint,
    "checkpoint_removed": CheckpointRemoved,
    "evaluation": Evaluation,
    "progress": Progress,
    "log": Log,
    "rewind": Rewind,
    "end": End,
}


def check(event: dict[str, Any]) -> Head:
    """The event as its type. Raises pydantic.ValidationError."""
    kind = event.get("type")
    return TYPES.get(kind if isinstance(kind, str) else "", Head).model_validate(event)

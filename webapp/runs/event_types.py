"""The fields that each type of event must have, because pages rely on them.

Other fields are stored as they are. An event of an unknown type needs only its type and time.

A log writes numbers that are not finite as the strings "NaN", "Infinity" and "-Infinity", because
JSON has no such numbers. Series store them. In other events they mean that nothing was measured:
they become None, and an event whose page cannot do without the number is refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trainer import json_numbers

# The bounds are half of the range of a bigint column. A rewind to the state before the first update
# has the step -1.
Whole = Annotated[int, Field(ge=-1, le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
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


class EventPart(BaseModel):
    """A nested object of an event; unknown fields are stored."""

    model_config = ConfigDict(extra="allow")


class EventHead(EventPart):
    """The fields of every event. Wall time is in Unix seconds, up to the year 3000."""

    type: Annotated[str, Field(max_length=20)]
    wall_time: Annotated[float, Field(ge=0, le=2**35)]
    step: Whole | None = None


class MetricsEvent(EventHead):
    step: Whole
    tokens: Count = 0
    compute: Amount = 0.0
    values: dict[str, float]


class SideFile(EventPart):
    """A file that the trainer wrote beside its log, named by its content."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ProblemSetEvent(EventHead):
    role: str
    fingerprint: str
    count: Count
    set_aside: Count
    file: SideFile | None = None


class ProblemsEvent(EventHead):
    """Pass rates of problems: passed / verdicts for each of the ids."""

    step: Whole
    role: str
    reason: str
    k: Annotated[int, Field(ge=1, le=2**62)]
    ids: list[str]
    passed: list[Count]
    verdicts: list[Count]
    weights: list[Measured] | None = None

    # Pages pair these lists by position.
    @model_validator(mode="after")
    def _require_one_number_per_problem(self) -> ProblemsEvent:
        weights = len(self.ids) if self.weights is None else len(self.weights)
        if not len(self.ids) == len(self.passed) == len(self.verdicts) == weights:
            raise ValueError(
                "passed, verdicts and weights must have one number for each of the ids"
            )
        if any(
            passed > verdicts for passed, verdicts in zip(self.passed, self.verdicts, strict=True)
        ):
            raise ValueError("no problem can have more answers passed than verdicts")
        return self


class RolloutEntry(BaseModel):
    """One kept rollout in the index of a `rollouts` event.

    Unknown fields are dropped, because these become the columns of a RolloutRow.
    """

    problem: Annotated[str, Field(min_length=1)]
    source: str
    sample: Annotated[int, Field(ge=0, lt=2**31)] = 0
    verdict: bool | None = None
    truncated: bool = False
    length: Annotated[int, Field(ge=0, lt=2**31)]
    weight: float | None = None
    divergence: float | None = None
    excerpt: str = ""


class RolloutsEvent(EventHead):
    """The rollouts of one step: `kept` of `of` are in the file and in the index."""

    step: Whole
    stage: str = ""
    role: str
    file: SideFile
    kept: Count
    of: Count
    index: list[RolloutEntry]


class SnrEventBin(EventPart):
    low: Share
    high: Share
    n: Count
    snr: MeasuredLarge
    interval: Annotated[tuple[Large, Large] | None, BeforeValidator(none_unless_finite)] = None
    numerator: MeasuredLarge = None
    denominator: MeasuredLarge = None


class SnrEvent(EventHead):
    step: Whole
    bins: Annotated[list[SnrEventBin], Field(max_length=1000)]


class CheckpointEvent(EventHead):
    step: Whole
    stage: str = ""
    folder: Annotated[str, Field(max_length=255)]
    best: bool = False
    metrics: dict[str, MeasuredLarge] = Field(default_factory=dict)


class CheckpointRemovedEvent(EventHead):
    step: Whole
    folder: Annotated[str, Field(max_length=255)]


class Difference(EventPart):
    pass_rate: Value
    interval: tuple[Value, Value]


MeasuredDifference = Annotated[Difference | None, BeforeValidator(none_unless_finite)]


class EvaluationGroup(EventPart):
    by: str
    name: str
    n: Count
    pass_rate: MeasuredShare
    interval: MeasuredInterval = None
    difference: MeasuredDifference = None


class EvaluationEvent(EventHead):
    step: Whole
    when: Literal["before", "during", "after"]
    role: str
    problems: Count = 0
    samples: Count = 0
    pass_rate: MeasuredShare
    interval: MeasuredInterval = None
    pass_at: dict[str, MeasuredShare] = Field(default_factory=dict)
    truncated: MeasuredShare = None
    groups: list[EvaluationGroup] = Field(default_factory=list)
    difference: MeasuredDifference = None


class ReliabilityBin(EventPart):
    low: Share
    high: Share
    n: Count
    confidence: Share
    accuracy: Share
    interval: MeasuredInterval = None


class CalibrationEvent(EventHead):
    step: Whole
    when: Literal["before", "during", "after"]
    role: str = "evaluation"
    readout: Literal["stated", "expected", "answer"]
    n: Count
    malformed: dict[str, Count] = Field(default_factory=dict)
    mean_confidence: MeasuredShare = None
    accuracy: MeasuredShare = None
    ece: MeasuredShare = None
    ece_mass: MeasuredShare = None
    ece_if_calibrated: MeasuredShare = None
    brier: MeasuredShare = None
    brier_parts: dict[str, Measured] | None = None
    gap: Measured = None
    spr: MeasuredShare = None
    auroc: MeasuredShare = None
    bins: Annotated[list[ReliabilityBin], Field(max_length=1000)] = Field(default_factory=list)
    risk_coverage: Annotated[list[tuple[Share, Share]], Field(max_length=1000)] = Field(
        default_factory=list
    )


class Region(EventPart):
    name: Literal["q1", "q2", "q3", "q4"]
    share: Share
    kept_share: Share
    divergence_share: Share


class Thresholds(EventPart):
    entropy: Value
    divergence: Value


class TokenRegionsEvent(EventHead):
    """Token counts; `counts` and `kept` are indexed by [entropy cell][divergence cell]."""

    step: Whole
    stage: str = ""
    entropy_edges: Edges
    divergence_edges: Edges
    counts: list[list[Count]]
    kept: list[list[Count]]
    regions: Annotated[list[Region], Field(max_length=4)]
    thresholds: Thresholds
    kept_share: Share

    @model_validator(mode="after")
    def _require_one_count_per_cell(self) -> TokenRegionsEvent:
        shape = (len(self.entropy_edges) - 1, len(self.divergence_edges) - 1)
        if any(
            len(table) != shape[0] or any(len(row) != shape[1] for row in table)
            for table in (self.counts, self.kept)
        ):
            raise ValueError("counts and kept must have one number for each cell between the edges")
        if any(
            kept_count > count
            for rows in zip(self.kept, self.counts, strict=True)
            for kept_count, count in zip(*rows, strict=True)
        ):
            raise ValueError("no cell can keep more tokens than it counts")
        return self


class Rate(EventPart):
    pass_rate: Share
    interval: Interval


MeasuredRate = Annotated[Rate | None, BeforeValidator(none_unless_finite)]


class PrivilegedEvent(EventHead):
    """Pass rates with and without what the teacher is shown.

    A rate is None if no answer was judged; then the difference from it is None too.
    """

    step: Whole
    when: str = "during"
    problems: Count
    samples: Count
    plain: MeasuredRate
    privileged: MeasuredRate
    continuation: MeasuredRate = None
    difference: MeasuredDifference = None

    @model_validator(mode="after")
    def _drop_difference_without_rates(self) -> PrivilegedEvent:
        if self.plain is None or self.continuation is None:
            self.difference = None
        return self


class PipelineEvent(EventHead):
    step: Whole
    stage: str = ""
    generated: Count
    consumed: Count
    buffered: Count = 0
    pruned: Count = 0
    dropped: dict[str, Count] = Field(default_factory=dict)
    rows: Count = 0
    share_edited: MeasuredShare = None


class ProgressEvent(EventHead):
    total_steps: Count | None = None
    stage: str = ""
    phase: str
    done: Count | None = None
    of: Count | None = None


class LogEvent(EventHead):
    level: str
    message: str


class RewindEvent(EventHead):
    step: Whole


class EndEvent(EventHead):
    outcome: Literal["completed", "stopped", "failed"]
    reason: str = ""
    remedy: str = ""


EVENT_TYPES: dict[str, type[EventHead]] = {
    "metrics": MetricsEvent,
    "problem_set": ProblemSetEvent,
    "problems": ProblemsEvent,
    "rollouts": RolloutsEvent,
    "snr": SnrEvent,
    "checkpoint": CheckpointEvent,
    "checkpoint_removed": CheckpointRemovedEvent,
    "evaluation": EvaluationEvent,
    "calibration": CalibrationEvent,
    "token_regions": TokenRegionsEvent,
    "privileged": PrivilegedEvent,
    "pipeline": PipelineEvent,
    "progress": ProgressEvent,
    "log": LogEvent,
    "rewind": RewindEvent,
    "end": EndEvent,
}


def check(event: dict[str, Any]) -> EventHead:
    """Return the event as its type. Raises pydantic.ValidationError if a field does not fit."""
    # A type that is not text cannot be looked up; `EventHead` refuses it with a reason.
    kind = event.get("type")
    return EVENT_TYPES.get(kind if isinstance(kind, str) else "", EventHead).model_validate(event)

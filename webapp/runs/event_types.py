"""What each type of event must say, as pages rely on it. Fields beyond these are kept; an unknown
type needs only its time.

A log writes numbers that are not finite as the strings "NaN", "Infinity" and "-Infinity", because
JSON has no others. Series keep them; elsewhere they say that there was nothing to measure, and
become None, or the event is refused where a page cannot do without the number.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Whole = Annotated[int, Field(ge=-1, le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Amount = Annotated[float, Field(ge=0, le=1e30)]
ROUNDING = 1e-6


def finite(value: Any) -> Any:
    """None in place of a number, a pair or a rate that is not finite."""
    if isinstance(value, float | str):
        return None if str(value).lower().lstrip("+-") in ("nan", "inf", "infinity") else value
    if isinstance(value, list):
        return None if any(finite(item) is None for item in value) else value
    return (
        None
        if isinstance(value, dict) and "pass_rate" in value and finite(value["pass_rate"]) is None
        else value
    )


def increasing(edges: list[float]) -> list[float]:
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("edges must increase")
    return edges


Value = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Large = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=-ROUNDING, le=1 + ROUNDING, allow_inf_nan=False)]
Measured = Annotated[Value | None, BeforeValidator(finite)]
MeasuredLarge = Annotated[Large | None, BeforeValidator(finite)]
MeasuredShare = Annotated[Share | None, BeforeValidator(finite)]
Interval = tuple[Share, Share]
MeasuredInterval = Annotated[Interval | None, BeforeValidator(finite)]
Edges = Annotated[list[Value], Field(min_length=2, max_length=200), AfterValidator(increasing)]


class Part(BaseModel):
    """A part of an event."""

    model_config = ConfigDict(extra="allow")


class Head(Part):
    """What every event has. Wall time is in Unix seconds, up to the year 3000."""

    type: Annotated[str, Field(max_length=20)]
    wall_time: Annotated[float, Field(ge=0, le=2**35)]
    step: Whole | None = None


class Metrics(Head):
    step: Whole
    tokens: Count = 0
    compute: Amount = 0.0
    values: dict[str, float]


class File(Part):
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
    k: Annotated[int, Field(ge=1, le=2**62)]
    ids: list[str]
    passed: list[Count]
    verdicts: list[Count]
    weights: list[Measured] | None = None

    @model_validator(mode="after")
    def _one_number_a_problem(self) -> Problems:
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


class Bin(Part):
    low: Share
    high: Share
    n: Count
    snr: MeasuredLarge
    interval: Annotated[tuple[Large, Large] | None, BeforeValidator(finite)] = None
    numerator: MeasuredLarge = None
    denominator: MeasuredLarge = None


class Snr(Head):
    step: Whole
    bins: Annotated[list[Bin], Field(max_length=1000)]


class Checkpoint(Head):
    step: Whole
    stage: str = ""
    folder: Annotated[str, Field(max_length=255)]
    best: bool = False
    metrics: dict[str, MeasuredLarge] = Field(default_factory=dict)


class CheckpointRemoved(Head):
    step: Whole
    folder: Annotated[str, Field(max_length=255)]


class Difference(Part):
    pass_rate: Value
    interval: tuple[Value, Value]


MeasuredDifference = Annotated[Difference | None, BeforeValidator(finite)]


class Group(Part):
    by: str
    name: str
    n: Count
    pass_rate: MeasuredShare
    interval: MeasuredInterval = None
    difference: MeasuredDifference = None


class Evaluation(Head):
    step: Whole
    when: Literal["before", "during", "after"]
    role: str
    problems: Count = 0
    samples: Count = 0
    pass_rate: MeasuredShare
    interval: MeasuredInterval = None
    pass_at: dict[str, MeasuredShare] = Field(default_factory=dict)
    truncated: MeasuredShare = None
    groups: list[Group] = Field(default_factory=list)
    difference: MeasuredDifference = None


class ReliabilityBin(Part):
    low: Share
    high: Share
    n: Count
    confidence: Share
    accuracy: Share
    interval: MeasuredInterval = None


class Calibration(Head):
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


class Region(Part):
    name: Literal["q1", "q2", "q3", "q4"]
    share: Share
    kept_share: Share
    divergence_share: Share


class Thresholds(Part):
    entropy: Value
    divergence: Value


class TokenRegions(Head):
    """`counts` and `kept` by [entropy cell][divergence cell]."""

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
    def _one_count_a_cell(self) -> TokenRegions:
        shape = (len(self.entropy_edges) - 1, len(self.divergence_edges) - 1)
        if any(
            len(table) != shape[0] or any(len(row) != shape[1] for row in table)
            for table in (self.counts, self.kept)
        ):
            raise ValueError("counts and kept must have one number for each cell between the edges")
        if any(
            kept > count
            for pair in zip(self.kept, self.counts, strict=True)
            for kept, count in zip(*pair, strict=True)
        ):
            raise ValueError("no cell can keep more tokens than it counts")
        return self


class Rate(Part):
    pass_rate: Share
    interval: Interval


MeasuredRate = Annotated[Rate | None, BeforeValidator(finite)]


class Privileged(Head):
    """A rate is None where no answer was judged; then there is no difference from it either."""

    step: Whole
    when: str = "during"
    problems: Count
    samples: Count
    plain: MeasuredRate
    privileged: MeasuredRate
    continuation: MeasuredRate = None
    difference: MeasuredDifference = None

    @model_validator(mode="after")
    def _difference_of_two(self) -> Privileged:
        if self.plain is None or self.continuation is None:
            self.difference = None
        return self


class Pipeline(Head):
    step: Whole
    stage: str = ""
    generated: Count
    consumed: Count
    buffered: Count = 0
    pruned: Count = 0
    dropped: dict[str, Count] = Field(default_factory=dict)
    rows: Count = 0
    share_edited: MeasuredShare = None


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
    "snr": Snr,
    "checkpoint": Checkpoint,
    "checkpoint_removed": CheckpointRemoved,
    "evaluation": Evaluation,
    "calibration": Calibration,
    "token_regions": TokenRegions,
    "privileged": Privileged,
    "pipeline": Pipeline,
    "progress": Progress,
    "log": Log,
    "rewind": Rewind,
    "end": End,
}


def check(event: dict[str, Any]) -> Head:
    """The event as its type. Raises pydantic.ValidationError."""
    kind = event.get("type")
    return TYPES.get(kind if isinstance(kind, str) else "", Head).model_validate(event)

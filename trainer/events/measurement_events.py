"""Declarations of the events about what was measured: problems, rollouts, models and tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from trainer.events.values import (
    Amount,
    Change,
    Count,
    Edges,
    EventPart,
    Interval,
    Large,
    Measured,
    MeasuredInterval,
    MeasuredLarge,
    MeasuredShare,
    Recorded,
    Share,
    SideFile,
    StepEvent,
    Value,
    none_unless_finite,
    recorded,
)

When = Literal["before", "during", "after"]


class ProblemsEvent(StepEvent):
    """Pass rates of problems: passed / verdicts for each of the ids."""

    type: Literal["problems"]
    role: str = Field(description="train, or tracked: a fixed sample of the pool")
    reason: str = Field(description="initial, refresh or tracking")
    k: Annotated[int, Field(ge=1, le=2**62)] = Field(description="answers to each problem")
    ids: list[str] = Field(description="the problems")
    passed: list[Count] = Field(description="right answers to each problem")
    verdicts: list[Count] = Field(description="judged answers to each problem")
    weights: list[Measured] | None = Field(
        default=None, description="weight of each problem; null: set aside"
    )

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

    problem: Annotated[str, Field(min_length=1)] = Field(description="id of the problem")
    source: str = Field(description="student or teacher")
    sample: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="number of the answer to its problem, from 0"
    )
    verdict: bool | None = Field(
        default=None, description="whether it is right; null: could not tell"
    )
    truncated: bool = Field(default=False, description="whether it was cut at its longest length")
    length: Annotated[int, Field(ge=0, lt=2**31)] = Field(description="length, tokens")
    weight: float | None = Field(default=None, description="weight of the answer in the loss")
    divergence: float | None = Field(default=None, description="mean over its tokens, nats")
    excerpt: str = Field(default="", description="the beginning of its text")


class RolloutsEvent(StepEvent):
    """The rollouts of one step: `kept` of `of` are in the file and in the index."""

    type: Literal["rollouts"]
    stage: str = Field(default="", description="name of the stage")
    role: str = Field(description="train, evaluation or teacher")
    file: SideFile = Field(description="the kept rollouts, whole")
    kept: Count = Field(description="rollouts in the file")
    of: Count = Field(description="rollouts of the step")
    index: list[RolloutEntry] = Field(description="one entry per kept rollout")


class Difference(EventPart):
    pass_rate: Value = Field(description="difference of pass rates")
    interval: tuple[Value, Value] = Field(description="95 % interval")


MeasuredDifference = Annotated[Difference | None, BeforeValidator(none_unless_finite)]


class EvaluationGroup(EventPart):
    by: str = Field(description="tier, difficulty or domain")
    name: str = Field(description='which; where all three tiers occur also "mastered or frontier"')
    n: Count = Field(description="problems")
    pass_rate: MeasuredShare = Field(description="mean of the problems' pass rates")
    interval: MeasuredInterval = Field(default=None, description="95 % interval of the pass rate")
    difference: MeasuredDifference = Field(default=None, description="as of the whole evaluation")


class CommonProblems(EventPart):
    problems: Count = Field(description="problems that every evaluation of the run asks")
    pass_rate: MeasuredShare = Field(description="mean of the problems' pass rates")
    interval: MeasuredInterval = Field(default=None, description="95 % interval of the pass rate")


class EvaluationEvent(StepEvent):
    """Pass rates on held-out problems."""

    type: Literal["evaluation"]
    when: When = Field(description="before, during or after training")
    role: str = Field(description="evaluation or retained")
    problems: Count = Field(default=0, description="problems asked")
    samples: Count = Field(default=0, description="answers to each problem")
    pass_rate: MeasuredShare = Field(description="mean of the problems' pass rates")
    interval: MeasuredInterval = Field(default=None, description="95 % interval of the pass rate")
    pass_at: dict[str, MeasuredShare] = Field(
        default_factory=dict, description="pass@k by k: one of k answers is right"
    )
    truncated: MeasuredShare = Field(default=None, description="share of the answers that were cut")
    groups: list[EvaluationGroup] = Field(
        default_factory=list, description="the same for parts of the problems"
    )
    difference: MeasuredDifference = Field(
        default=None,
        description="from the student before the run, paired problem by problem; null before it",
    )
    common: CommonProblems | None = Field(
        default=None,
        description="held-out problems that every evaluation asks, also those during training; "
        "evaluations of the run are compared by it",
    )


class AnswerSampling(EventPart):
    temperature: Amount = Field(description="0: greedy decoding")
    top_p: Share = Field(description="1: all tokens")
    top_k: Count = Field(description="0: all tokens")


class EvaluationConditions(EventPart):
    """What two evaluations must have in common to be compared problem by problem."""

    verifier: dict[str, Any] = Field(description="kind of the verifier and its settings")
    prompt: str = Field(description="template of the prompt")
    confidence: dict[str, Any] | None = Field(
        default=None, description="how answers state a confidence; null: they state none"
    )
    answer_limit: Count = Field(description="longest answer, tokens")
    sampling: AnswerSampling = Field(description="how answers are sampled")


class EvaluatedEvent(StepEvent):
    """The results of an evaluation, problem by problem."""

    type: Literal["evaluated"]
    when: When = Field(description="before, during or after training")
    role: str = Field(description="evaluation or retained")
    fingerprint: str = Field(description="hash of the whole set, as in `problem_set`")
    problems: Count = Field(description="problems asked, which may be a part of the set")
    samples: Count = Field(description="answers to each problem")
    conditions: EvaluationConditions = Field(description="how the answers were asked for")
    file: SideFile = Field(
        description="columns problem (id), passed and verdicts (numbers of answers), and answers: "
        "texts that are kept to be read, cut at 4,000 characters and within 1 MiB"
    )


class ReliabilityBin(EventPart):
    low: Share = Field(description="lowest confidence")
    high: Share = Field(description="highest confidence")
    n: Count = Field(description="answers")
    confidence: Share = Field(description="mean confidence")
    accuracy: Share = Field(description="share of right answers")
    interval: MeasuredInterval = Field(default=None, description="95 % interval of the accuracy")


class CalibrationEvent(StepEvent):
    """How well confidence agrees with correctness on held-out problems."""

    type: Literal["calibration"]
    when: When = Field(description="before, during or after training")
    role: str = Field(default="evaluation", description="evaluation")
    readout: Literal["stated", "expected", "answer"] = Field(
        description="where the confidence comes from"
    )
    n: Count = Field(description="answers with a verdict and a confidence")
    malformed: dict[str, Count] = Field(
        default_factory=dict,
        description="statements with a problem, by problem: missing, duplicated, "
        "out_of_range, malformed",
    )
    malformed_share: Annotated[Any, Recorded(float)] = recorded(
        "share of the answers whose statement cannot be read"
    )
    mean_confidence: MeasuredShare = Field(default=None, description="mean confidence")
    accuracy: MeasuredShare = Field(default=None, description="share of right answers")
    ece: MeasuredShare = Field(
        default=None, description="expected calibration error, bins of equal width"
    )
    ece_mass: MeasuredShare = Field(
        default=None, description="expected calibration error, bins of equal size"
    )
    ece_if_calibrated: MeasuredShare = Field(
        default=None, description="the error that perfect calibration would show"
    )
    brier: MeasuredShare = Field(default=None, description="Brier score")
    brier_parts: dict[str, Measured] | None = Field(
        default=None,
        description="reliability − resolution + uncertainty + within = `brier`; null where `n` "
        "is 0",
    )
    gap: Measured = Field(default=None, description="mean confidence − accuracy")
    spr: MeasuredShare = Field(
        default=None, description="share of pairs in which the right answer has more confidence"
    )
    auroc: MeasuredShare = Field(
        default=None, description="area under the ROC curve of confidence against correctness"
    )
    bins: Annotated[list[ReliabilityBin], Field(max_length=1000)] = Field(
        default_factory=list, description="answers by confidence; only bins that hold answers"
    )
    risk_coverage: Annotated[list[tuple[Share, Share]], Field(max_length=1000)] = Field(
        default_factory=list,
        description="points (coverage, risk), at most 50",
    )
    risk_coverage_area: Annotated[Any, Recorded(float)] = recorded("area under these points")


class Region(EventPart):
    name: Literal["q1", "q2", "q3", "q4"] = Field(
        description="q1 both high, q2 entropy, q3 divergence, q4 neither"
    )
    share: Share = Field(description="share of all tokens")
    kept_share: Share = Field(description="share of its tokens that were trained on")
    divergence_share: Share = Field(description="share of the sum of divergences")


class Thresholds(EventPart):
    entropy: Value = Field(description="h / ln V")
    divergence: Value = Field(description="nats")


class TokenRegionsEvent(StepEvent):
    """A step's tokens by entropy and divergence.

    `counts` and `kept` are indexed by [entropy cell][divergence cell].
    """

    type: Literal["token_regions"]
    stage: str = Field(default="", description="name of the stage")
    entropy_edges: Edges = Field(description="edges of the entropy cells, h / ln V")
    divergence_edges: Edges = Field(description="edges of the divergence cells, nats, logarithmic")
    counts: list[list[Count]] = Field(description="tokens of each cell")
    kept: list[list[Count]] = Field(description="tokens of each cell that were trained on")
    regions: Annotated[list[Region], Field(max_length=4)] = Field(
        description="the four regions between the thresholds"
    )
    thresholds: Thresholds = Field(description="what counts as high")
    kept_share: Share = Field(description="share of the tokens that were trained on")

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
    pass_rate: Share = Field(description="mean of the problems' pass rates")
    interval: Interval = Field(description="95 % interval")


MeasuredRate = Annotated[Rate | None, BeforeValidator(none_unless_finite)]


class PrivilegedEvent(StepEvent):
    """Pass rates with and without what the teacher is shown.

    Only where the teacher is shown more and held-out problems have it to show. A rate is null if no
    answer was judged; then the difference from it is null too.
    """

    type: Literal["privileged"]
    when: str = Field(default="during", description="before, during or after training")
    problems: Count = Field(description="problems that have something to show")
    samples: Count = Field(description="answers to each problem")
    plain: MeasuredRate = Field(description="the student, asked as always")
    privileged: MeasuredRate = Field(
        description="the teacher, with its weights and what it is shown, writing by itself"
    )
    continuation: MeasuredRate = Field(
        default=None, description="the teacher after the first half of the student's answers"
    )
    difference: MeasuredDifference = Field(
        default=None, description="continuation − plain, paired problem by problem"
    )

    @model_validator(mode="after")
    def _drop_difference_without_rates(self) -> PrivilegedEvent:
        if self.plain is None or self.continuation is None:
            self.difference = None
        return self


class PipelineEvent(StepEvent):
    """Tokens of a round.

    `generated` = `consumed` + `buffered` + `pruned` + the sum of `dropped`.
    """

    type: Literal["pipeline"]
    stage: str = Field(default="", description="name of the stage")
    generated: Count = Field(description="tokens sampled")
    consumed: Count = Field(description="tokens of rows to train on")
    buffered: Change = Field(
        default=0, description="change of the tokens that are stored or paused for later rounds"
    )
    pruned: Count = Field(default=0, description="tokens of answers that the controller cut")
    dropped: dict[str, Count] = Field(
        default_factory=dict,
        description="tokens by reason; “replaced” are those that a plug-in wrote over",
    )
    rows: Count = Field(default=0, description="rows to train on")
    share_edited: MeasuredShare = Field(
        default=None, description="share of the rows whose ids are not those that were sampled"
    )
    decisions: dict[str, Count] = Field(
        default_factory=dict,
        description="the controller's decisions as “action: reason”; without those to continue or "
        "to train that give no reason",
    )


class SnrEventBin(EventPart):
    low: Share = Field(description="lowest pass rate")
    high: Share = Field(description="highest pass rate")
    n: Count = Field(description="gradients, one per answer")
    snr: MeasuredLarge = Field(description="signal-to-noise ratio: numerator / denominator")
    interval: Annotated[tuple[Large, Large] | None, BeforeValidator(none_unless_finite)] = Field(
        default=None, description="90 % interval of the ratio"
    )
    numerator: MeasuredLarge = Field(default=None, description="signal")
    denominator: MeasuredLarge = Field(default=None, description="noise")
    first_half: MeasuredLarge = Field(
        default=None, description="ratio of the first half of the gradients"
    )
    second_half: MeasuredLarge = Field(
        default=None, description="ratio of the second half of the gradients"
    )


class SnrEvent(StepEvent):
    """Signal-to-noise ratio of the gradient by pass rate, measured on other rollouts."""

    type: Literal["snr"]
    bins: Annotated[list[SnrEventBin], Field(max_length=1000)] = Field(
        description="problems by pass rate"
    )

"""The schedule of a run and a rough estimate of its cost, with the assumptions behind it.

Tokens are upper bounds (every answer as long as allowed). Memory counts what the definition fixes:
fp32 weights, gradient and two AdamW moments of what is trained (16 bytes for each parameter, plus 2
for a bfloat16 copy), and what is frozen in its own precision: teachers that are loaded, copies of
the student, and a student of which only an adapter is trained. Activations, the key-value cache and
the program itself are not included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.estimate import ProblemCounts, max_written_tokens
from trainer.spec import ArithmeticProblems, FileProblems, Need, RunSpec, SplitProblems
from trainer.spec.networks import LowRankAdapter, ModelTeacher, SelfTeacher
from webapp.base.number_text import bytes_size
from webapp.library.model_files import ModelFacts

BYTES_PER_VALUE = {"float64": 8, "float32": 4, "bfloat16": 2}
# Bytes per trained parameter: fp32 weight, gradient and two moments of AdamW.
TRAINED_BYTES = 16
# Bytes per parameter in a checkpoint: fp32 weight and two moments.
STORED_BYTES = 12
# Width of the schedule bar in units of its SVG view box.
BAR_WIDTH = 320
# Series colours of the style sheet, used in turn.
TONES = 6
SOURCES = {
    "teacher_written": "the teacher's answers",
    "student_rollouts": "the student's own answers",
    "solutions": "the worked solutions",
    "pairs": "preference pairs",
}


@dataclass(frozen=True)
class StageBar:
    """One stage on the schedule bar.

    `x` and `width` are in units of the SVG view box; `tone` is the number of its colour, from 1.
    """

    name: str
    summary: str
    x: float
    width: float
    tone: int


@dataclass(frozen=True)
class EstimateRow:
    """One estimated quantity, with the assumptions behind it as a sentence."""

    title: str
    value: str
    assumptions: str


@dataclass(frozen=True)
class RunEstimate:
    """Schedule and estimate of a run.

    `stage_zero` describes the measurement of pass rates before training; empty if there is none.
    `memory_bytes` is the least that each process needs.
    """

    stage_zero: str
    stages: tuple[StageBar, ...]
    rows: tuple[EstimateRow, ...]
    memory_bytes: int | None


@dataclass(frozen=True)
class ReferenceFacts:
    """What the server could read of the things that a definition names.

    Models by their path, problem counts by role; None where the server could not read them.
    """

    models: Mapping[str, ModelFacts | None]
    problem_counts: Mapping[str, int | None]

    def parameters(self, path: str) -> int | None:
        """Return the number of parameters of the model at a path, if known."""
        model = self.models.get(path)
        return model.parameters if model else None


def estimate_run(spec: RunSpec, facts: ReferenceFacts) -> RunEstimate:
    memory = memory_of(spec, facts)
    # FSDP shards weights, gradients and moments evenly over the processes.
    if memory and spec.compute.parallel == "fsdp":
        memory //= spec.compute.ranks
    stage_zero = ""
    if spec.pool.estimate != "never":
        count = problem_counts(spec, facts.problem_counts).get("train")
        problems = (
            f"{_about(spec)}{count:,} training problems"
            if count is not None
            else "the training problems"
        )
        stage_zero = f"{spec.pool.rollouts_per_problem} answers to each of {problems}"
    rows = (_tokens_row(spec, facts), _memory_row(spec, facts), _disk_row(spec, facts))
    return RunEstimate(stage_zero, stage_bars(spec), rows, memory)


def stage_bars(spec: RunSpec) -> tuple[StageBar, ...]:
    """Return the stages, each as wide as its share of the steps."""
    bars, steps_before = [], 0
    for index, stage in enumerate(spec.stages):
        x = BAR_WIDTH * steps_before / spec.total_steps
        width = BAR_WIDTH * stage.until.steps / spec.total_steps
        steps = f"{stage.until.steps:,} step{'s' if stage.until.steps > 1 else ''}"
        problems = f"{stage.problems_per_step:,} problems"
        if stage.updates_per_step > 1:
            problems += f", with {stage.updates_per_step:,} updates each"
        bars.append(
            StageBar(
                stage.name,
                f"{steps} of {problems}: {stage.describe_objective()} on {SOURCES[stage.source]}",
                round(x, 1),
                # One unit is left free as a gap between neighbours.
                round(max(width - 1, 1), 1),
                index % TONES + 1,
            )
        )
        steps_before += stage.until.steps
    return tuple(bars)


def problem_counts(spec: RunSpec, file_counts: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the problems of each role after limits and the held-out share.

    `file_counts` holds the problems of files by role, before limits.
    """
    counts: dict[str, int | None] = {}
    for role in ("train", "evaluation", "retained"):
        source = getattr(spec.data, role)
        if isinstance(source, FileProblems):
            size = file_counts.get(role)
            counts[role] = min(size, source.limit) if size is not None and source.limit else size
        elif isinstance(source, ArithmeticProblems):
            counts[role] = source.count
    if spec.data.is_cohort:
        counts["evaluation"] = counts["train"]
    if isinstance(spec.data.evaluation, SplitProblems) and counts["train"] is not None:
        held_out = round(counts["train"] * spec.data.evaluation.share)
        counts |= {"train": counts["train"] - held_out, "evaluation": held_out}
    return counts


def _tokens_row(spec: RunSpec, facts: ReferenceFacts) -> EstimateRow:
    counts = problem_counts(spec, facts.problem_counts)
    train, held_out = counts.get("train"), counts.get("evaluation")
    if train is None or held_out is None:
        return EstimateRow(
            "Tokens written",
            "unknown",
            "The number of problems is known when the worker reads them.",
        )
    total = max_written_tokens(spec, ProblemCounts(train, held_out, counts.get("retained") or 0))
    return EstimateRow(
        "Tokens written",
        f"at most {_count(total)}",
        f"{_about(spec)}{train:,} training and {held_out:,} held-out problems; every answer as "
        "long as allowed.",
    )


def _about(spec: RunSpec) -> str:
    """“about ” where chance decides how many problems are held out; else nothing."""
    return "about " if isinstance(spec.data.evaluation, SplitProblems) else ""


def memory_of(spec: RunSpec, facts: ReferenceFacts) -> int | None:
    """Return the bytes of all weights and moments; None if a model's size is not known."""
    student, frozen = facts.parameters("networks.student"), _frozen_bytes(spec, facts)
    if student is None or frozen is None:
        return None
    network = spec.networks.student
    if isinstance(network.adapter, LowRankAdapter):
        return student * BYTES_PER_VALUE[network.dtype] + frozen
    # The forward pass in bfloat16 reads a copy of the fp32 weights; the average is kept in fp32.
    copy_bytes = 2 if network.dtype == "bfloat16" else 0
    average_bytes = 4 if spec.evaluation.ema_decay else 0
    return student * (TRAINED_BYTES + copy_bytes + average_bytes) + frozen


def _memory_row(spec: RunSpec, facts: ReferenceFacts) -> EstimateRow:
    student, memory = facts.parameters("networks.student"), memory_of(spec, facts)
    if student is None or memory is None:
        return EstimateRow(
            "Memory",
            "unknown",
            "The size of a model of the hub is known when the worker has fetched it.",
        )
    size, teachers = _count(student), _teachers(spec, facts)
    if isinstance(spec.networks.student.adapter, LowRankAdapter):
        included = f"Student {size}, frozen below its adapter, and {teachers}."
        excluded = "Without the adapter and activations."
    else:
        included = f"Student {size}, {teachers}."
        excluded = "Weights, gradient and AdamW; without activations."
    return EstimateRow(
        "Memory",
        f"{bytes_size(memory)} and more",
        f"{included} {excluded} The program itself takes about half a GiB.",
    )


def _frozen_bytes(spec: RunSpec, facts: ReferenceFacts) -> int | None:
    """Return the bytes of the networks beside the student; None if a size is not known."""
    networks = {
        f"networks.specialists.{index}.teacher": specialist.teacher
        for index, specialist in enumerate(spec.networks.specialists)
        if isinstance(specialist.teacher, ModelTeacher)
    }
    if isinstance(spec.networks.teacher, ModelTeacher):
        networks["networks.teacher"] = spec.networks.teacher
    copies = _has_student_copy(spec) + _has_reference_copy(spec)
    total = copies * (facts.parameters("networks.student") or 0) * BYTES_PER_VALUE["float32"]
    for path, network in networks.items():
        parameters = facts.parameters(path)
        if parameters is None:
            return None
        total += parameters * BYTES_PER_VALUE[network.dtype]
    return total


def _has_student_copy(spec: RunSpec) -> bool:
    """Whether a second set of the student's weights is kept as its teacher."""
    teacher = spec.networks.teacher
    return isinstance(teacher, SelfTeacher) and teacher.weights in ("initial", "ema")


def _has_reference_copy(spec: RunSpec) -> bool:
    """Whether a stage keeps the student's weights from its beginning as its reference.

    With an adapter that is the adapter alone, or none.
    """
    has_adapter = isinstance(spec.networks.student.adapter, LowRankAdapter)
    return not has_adapter and any(
        Need.REFERENCE_LOGPROB in stage.requirements for stage in spec.stages
    )


def _teachers(spec: RunSpec, facts: ReferenceFacts) -> str:
    teacher = spec.networks.teacher
    if isinstance(teacher, ModelTeacher):
        count = len(spec.networks.specialists)
        specialists = f" and {count} specialist{'s' if count > 1 else ''}" if count else ""
        parameters = facts.parameters("networks.teacher") or 0
        return f"teacher {_count(parameters)} parameters{specialists}"
    return "a copy of it as teacher" if _has_student_copy(spec) else "no network as teacher"


def _disk_row(spec: RunSpec, facts: ReferenceFacts) -> EstimateRow:
    if isinstance(spec.networks.student.adapter, LowRankAdapter):
        return EstimateRow(
            "Disk",
            "small",
            "Checkpoints hold the adapter and its moments, without recorded rollouts.",
        )
    student = facts.parameters("networks.student")
    if student is None:
        return EstimateRow(
            "Disk", "unknown", "Checkpoints grow with the student, whose size is not known here."
        )
    checkpoints = spec.checkpoints.keep_last + spec.checkpoints.keep_best
    return EstimateRow(
        "Disk",
        f"about {bytes_size(checkpoints * STORED_BYTES * student)}",
        f"{checkpoints} checkpoint{'s' if checkpoints > 1 else ''} of weights and two moments, "
        "without recorded rollouts.",
    )


def _count(number: int) -> str:
    """Return a number as 1,234, 12.3 k, 1.23 M, 1.23 G or 1.23 T."""
    for limit, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= limit:
            return f"{number / (1000 if unit == 'k' else limit):.3g} {unit}"
    return f"{number:,}"

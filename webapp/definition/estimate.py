"""What a definition will do before it does it: its schedule, and a rough estimate with the
assumptions it rests on.

Tokens are upper bounds (every answer as long as allowed). Memory counts what the definition fixes:
fp32 weights, gradient and two AdamW moments of what is trained (16 bytes for each parameter, plus 2
for a bfloat16 copy), and what is frozen in its own precision: teachers that are loaded, copies of
the student, and a student of which only an adapter is trained. Activations, the key-value cache and
the program itself come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.estimate import ProblemCounts, max_written_tokens
from trainer.spec import FileProblems, RunSpec, SplitProblems, Stage
from trainer.spec.networks import LowRankAdapter, ModelTeacher, SelfTeacher
from webapp.base.number_text import bytes_size
from webapp.library.model_files import ModelFacts

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2}
TRAINED = 16  # fp32 weight, gradient and two moments
STORED = 12  # fp32 weight and two moments in a checkpoint
BAR = 320
SOURCES = {
    "teacher_written": "the teacher's answers",
    "student_rollouts": "the student's own answers",
    "solutions": "the worked solutions",
}
OBJECTIVES = {
    "forward_kl": "forward KL",
    "reverse_kl": "reverse KL",
    "jsd": "JSD",
    "skewed_kl": "skewed KL",
    "adaptive_kl": "adaptive KL",
    "policy_gradient": "policy gradient of the reverse KL",
    "grpo": "GRPO",
    "cross_entropy": "cross-entropy",
}


@dataclass(frozen=True)
class Leg:
    """One stage on the bar: `x` and `width` in units of the drawing, `tone` counts the colours."""

    name: str
    says: str
    x: float
    width: float
    tone: int


@dataclass(frozen=True)
class Figure:
    title: str
    value: str
    assumes: str


@dataclass(frozen=True)
class Outlook:
    before: str
    legs: tuple[Leg, ...]
    figures: tuple[Figure, ...]
    memory_bytes: int | None  # of each process, at least


@dataclass(frozen=True)
class Known:
    """What the server could see of the things that a definition names: models by their path,
    problems by role; None where it could not.
    """

    models: Mapping[str, ModelFacts | None]
    problems: Mapping[str, int | None]


def outlook_of(spec: RunSpec, known: Known) -> Outlook:
    figures = [_tokens(spec, known), _memory(spec, known), _disk(spec, known)]
    return Outlook(
        _before(spec, known), legs_of(spec), tuple(figures), _memory_of_each(spec, known)
    )


def legs_of(spec: RunSpec) -> tuple[Leg, ...]:
    """The stages, as wide as their share of the steps."""
    legs, done = [], 0
    for at, stage in enumerate(spec.stages):
        x, width = BAR * done / spec.total_steps, BAR * stage.until.steps / spec.total_steps
        legs.append(
            Leg(stage.name, _says(stage), round(x, 1), round(max(width - 1, 1), 1), at % 6 + 1)
        )
        done += stage.until.steps
    return tuple(legs)


def problem_counts(spec: RunSpec, found: Mapping[str, int | None]) -> dict[str, int | None]:
    """Problems of each role after limits and the held-out share; `found` counts those of files by
    role.
    """
    counts: dict[str, int | None] = {}
    for role in ("train", "evaluation", "retained"):
        source = getattr(spec.data, role)
        if isinstance(source, FileProblems):
            size = found.get(role)
            counts[role] = min(size, source.limit) if size is not None and source.limit else size
        elif source is not None and not isinstance(source, SplitProblems):
            counts[role] = source.count
    if isinstance(spec.data.evaluation, SplitProblems) and counts["train"] is not None:
        held_out = round(counts["train"] * spec.data.evaluation.share)
        counts |= {"train": counts["train"] - held_out, "evaluation": held_out}
    return counts


def _before(spec: RunSpec, known: Known) -> str:
    """Stage 0 in words; empty where there is none."""
    if spec.pool.estimate == "never":
        return ""
    count = problem_counts(spec, known.problems).get("train")
    return f"{spec.pool.rollouts_per_problem} answers to each of {f'{count:,}' if count is not None else 'the'} training problems"


def _says(stage: Stage) -> str:
    steps = f"{stage.until.steps:,} step{'s' if stage.until.steps > 1 else ''}"
    return f"{steps} of {stage.problems_per_step:,} problems: {OBJECTIVES[stage.objective.kind]} on {SOURCES[stage.source]}"


def _tokens(spec: RunSpec, known: Known) -> Figure:
    counts = problem_counts(spec, known.problems)
    train, held_out = counts.get("train"), counts.get("evaluation")
    if train is None or held_out is None:
        return Figure(
            "Tokens written",
            "unknown",
            "The number of problems is known when the worker reads them.",
        )
    total = max_written_tokens(spec, ProblemCounts(train, held_out, counts.get("retained") or 0))
    return Figure(
        "Tokens written",
        f"at most {_count(total)}",
        f"{train:,} training and {held_out:,} held-out problems; every answer as long as allowed.",
    )


def memory_of(spec: RunSpec, known: Known) -> int | None:
    """Bytes of what is loaded once; None if a model of it is not known."""
    student, frozen = _parameters(known, "networks.student"), _frozen(spec, known)
    if student is None or frozen is None:
        return None
    network, averaged = spec.networks.student, 4 if spec.evaluation.ema_decay else 0
    if isinstance(network.adapter, LowRankAdapter):
        return student * BYTES[network.dtype] + frozen
    return student * (TRAINED + (2 if network.dtype == "bfloat16" else 0) + averaged) + frozen


def _memory_of_each(spec: RunSpec, known: Known) -> int | None:
    """Bytes that each process needs at least: all of it, or its share."""
    memory = memory_of(spec, known)
    return memory // spec.compute.ranks if memory and spec.compute.parallel == "fsdp" else memory


def _memory(spec: RunSpec, known: Known) -> Figure:
    student, least = _parameters(known, "networks.student"), memory_of(spec, known)
    if student is None or least is None:
        return Figure(
            "Memory",
            "unknown",
            "The size of a model of the hub is known when the worker has fetched it.",
        )
    if isinstance(spec.networks.student.adapter, LowRankAdapter):
        assumes = f"Student {_count(student)}, frozen below its adapter, and {_teachers(spec, known)}. The adapter and activations come on top."
    else:
        assumes = f"Student {_count(student)}, {_teachers(spec, known)}. Weights, gradient and AdamW; activations come on top."
    return Figure(
        "Memory",
        f"{bytes_size(least)} and more",
        f"{assumes} The program itself takes about half a GiB.",
    )


def _frozen(spec: RunSpec, known: Known) -> int | None:
    """Bytes of the networks that are loaded beside the student; None if one of them is not
    known.
    """
    networks = spec.networks
    loaded = {
        f"networks.specialists.{at}.teacher": one.teacher
        for at, one in enumerate(networks.specialists)
    }
    if isinstance(networks.teacher, ModelTeacher):
        loaded["networks.teacher"] = networks.teacher
    sizes = {path: _parameters(known, path) for path in loaded}
    copied = (
        (_parameters(known, "networks.student") or 0) * BYTES["float32"] if _is_copied(spec) else 0
    )
    known_sizes = [
        size * BYTES[loaded[path].dtype] for path, size in sizes.items() if size is not None
    ]
    return copied + sum(known_sizes) if len(known_sizes) == len(loaded) else None


def _is_copied(spec: RunSpec) -> bool:
    """Whether a second set of the student's weights is kept as its teacher."""
    teacher = spec.networks.teacher
    return isinstance(teacher, SelfTeacher) and teacher.weights in ("initial", "ema")


def _teachers(spec: RunSpec, known: Known) -> str:
    teacher = spec.networks.teacher
    if isinstance(teacher, ModelTeacher):
        count = len(spec.networks.specialists)
        also = f" and {count} specialist{'s' if count > 1 else ''}" if count else ""
        return f"teacher {_count(_parameters(known, 'networks.teacher') or 0)} parameters{also}"
    return "a copy of it as teacher" if _is_copied(spec) else "no network as teacher"


def _disk(spec: RunSpec, known: Known) -> Figure:
    student = _parameters(known, "networks.student")
    kept = spec.checkpoints.keep_last + spec.checkpoints.keep_best
    if isinstance(spec.networks.student.adapter, LowRankAdapter):
        return Figure(
            "Disk",
            "small",
            "Checkpoints hold the adapter and its moments. Recorded rollouts come on top.",
        )
    if student is None:
        return Figure(
            "Disk", "unknown", "Checkpoints grow with the student, whose size is not known here."
        )
    assumes = f"{kept} checkpoint{'s' if kept > 1 else ''} of weights and two moments. Recorded rollouts come on top."
    return Figure("Disk", f"about {bytes_size(kept * STORED * student)}", assumes)


def _parameters(known: Known, path: str) -> int | None:
    found = known.models.get(path)
    return found.parameters if found else None


def _count(number: int) -> str:
    for limit, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= limit:
            return f"{number / (1000 if unit == 'k' else limit):.3g} {unit}"
    return f"{number:,}"

"""Checks of a run's problems against its verifier and its answer limits. Nothing imports torch.

The run makes them before its first step, the preflight before it is launched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trainer.spec import RunSpec, StatedConfidence
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.tokens import require_writable
from trainer.text.language.text_models import TextModel
from trainer.text.problems import Problem, ProblemError
from trainer.text.verifiers import Verifier, check_references

UNREADABLE_REMEDY = (
    "So most answers cannot be judged; choose another data.verifier, "
    "change its settings or map another column as the answer"
)
UNREADABLE_NOTE = "Answers to these problems are neither right nor wrong."


@dataclass(frozen=True)
class AnswerLimits:
    """The longest answers of a run in tokens: to training problems, held out, and by its stages."""

    pool: int
    held_out: int
    stages: tuple[int, ...]


def answer_limits(spec: RunSpec) -> AnswerLimits:
    stages = tuple(stage.rollouts.generate.sampling.max_new_tokens for stage in spec.stages)
    return AnswerLimits(
        max([spec.pool.sampling.max_new_tokens, *stages]),
        spec.evaluation.sampling.max_new_tokens,
        stages,
    )


def codec_of(spec: RunSpec) -> Codec | None:
    """Return what reads stated confidences; None where answers state none."""
    confidence = spec.data.confidence
    return Codec(confidence) if isinstance(confidence, StatedConfidence) else None


def require_writable_confidence(codec: Codec, student: TextModel, limits: AnswerLimits) -> None:
    """Raise ModelError if a confidence does not fit the shortest of the run's answers."""
    require_writable(codec, student, min([limits.held_out, *limits.stages]))


def check_readable_references(
    kind: str,
    verifier: Verifier,
    role: str,
    problems: Iterable[Problem],
    warn: Callable[[str], None],
) -> None:
    """Call `warn` if the verifier cannot read some references of problems that are `role`.

    Raises ProblemError if they are held out and it cannot read most.
    """
    check = check_references(verifier, (problem.answer for problem in problems))
    if not check.unreadable:
        return
    sentence = check.sentence(kind, role)
    if role == "held-out" and check.is_hopeless:
        raise ProblemError(f"{sentence} {UNREADABLE_REMEDY}")
    warn(f"{sentence} {UNREADABLE_NOTE}")


def require_solutions(problems: Sequence[Problem]) -> None:
    """Raise ProblemError if problems that solutions are trained on have none."""
    unsolved = [problem.id for problem in problems if not problem.solution.strip()]
    if unsolved:
        raise ProblemError(
            f"{len(unsolved)} of {len(problems)} training problems (the first is {unsolved[0]}) "
            "have no solution to train on; "
            "map data.train.columns.solution and fill the gaps, or choose another source for the "
            "stage"
        )

"""What every generator declares."""

from __future__ import annotations

from trainer.spec.base import option
from trainer.spec.mechanisms import Mechanism
from trainer.spec.sampling import Sampling


class GeneratorSettings(Mechanism):
    """How a problem is put to the student and how its answers are sampled.

    `function` makes a `Generator` (`trainer.text.rollouts.protocols`) from these settings.
    """

    # One answer, as in OPSD; GRPO and CaOPD compare several answers to a problem.
    per_problem: int = option(
        1,
        title="Answers per problem",
        help="Answers to each problem of a step: of the student, or of a teacher that writes them; "
        "a file may have fewer to some. Of pairs: both.",
        ge=1,
        le=1024,
        when={"source": ("student_rollouts", "teacher_written", "pairs")},
    )
    sampling: Sampling = option(title="Sampling", help="Sampling of answers.", factory=Sampling)

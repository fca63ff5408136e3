"""What a job is: one model over one whole data set, without training. It is cut into parts that any
machines carry out in any order.

A part's answers follow from this definition alone: problems are sampled in blocks of
`compute.block`, counted from the first problem, and a part is some whole blocks. So a part that is
done again, elsewhere or in another cut, gives the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from trainer.spec.base import Name, Section, check_uri, option
from trainer.spec.confidence import Confidence, NoConfidence
from trainer.spec.data import ArithmeticProblems, NumericVerifier, TrainProblems, Verifier
from trainer.spec.errors import SpecError, SpecIssue, translate
from trainer.spec.networks import EndpointTeacher, ModelTeacher, PrivilegedContext
from trainer.spec.reader import parse
from trainer.spec.sampling import Sampling

Samples = Annotated[int, Field(ge=1, le=1024)]


class PassRates(Section):
    """How often the model solves each problem: what is mastered, at the frontier, hopeless."""

    kind: Literal["pass_rates"] = "pass_rates"
    samples: Samples = option(
        8, title="Answers per problem (K)", help="A pass rate is estimated from so many."
    )
    keep_texts: bool = option(
        False,
        title="Keep the answers",
        help="Their texts too, to be read; a large file.",
        expert=True,
    )


class TeacherAnswers(Section):
    """An answer to every problem, to be learnt from: a data file that the teacher `texts` reads."""

    kind: Literal["teacher_answers"] = "teacher_answers"
    samples: Samples = option(
        1,
        title="Answers per problem",
        help="The first right one is kept; where none is right, the first. An endpoint is asked once.",
    )


class Benchmark(Section):
    """The model's pass rate on a benchmark, with its interval, pass@k, lengths and calibration."""

    kind: Literal["evaluation"] = "evaluation"
    samples: Samples = option(
        4, title="Answers per problem", help="More of them narrow the interval and allow larger k."
    )
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = option(
        (1, 4), title="pass@k", help="Values of k; each needs at least k answers."
    )
    keep_texts: bool = option(
        True, title="Keep the answers", help="Their texts too, to be read.", expert=True
    )

    @field_validator("pass_at")
    @classmethod
    def _enough_samples(cls, pass_at: tuple[int, ...], given: ValidationInfo) -> tuple[int, ...]:
        samples = given.data.get("samples", math.inf)
        if too_large := [k for k in pass_at if k > samples]:
            raise ValueError(
                f"asks for pass@{too_large[0]} of {samples} answers to a problem; ask for more answers or a smaller k"
            )
        return pass_at


Work = Annotated[PassRates | TeacherAnswers | Benchmark, Field(discriminator="kind")]


class CheckpointModel(Section):
    """The student of a run, as one of its checkpoints has it."""

    kind: Literal["checkpoint"] = "checkpoint"
    checkpoint: str = option(
        title="Checkpoint",
        help="`checkpoint:<run>@<step>`, or `file:<folder>` of one in the folder of its run.",
    )

    @field_validator("checkpoint")
    @classmethod
    def _is_a_checkpoint(cls, checkpoint: str) -> str:
        check_uri(checkpoint, "checkpoint", "file")
        if checkpoint.startswith("checkpoint:") and not checkpoint.rpartition("@")[2].isdecimal():
            raise ValueError("must name the step, as in checkpoint:<run>@100")
        return checkpoint


Author = Annotated[ModelTeacher | CheckpointModel | EndpointTeacher, Field(discriminator="kind")]


class JobCompute(Section):
    """Devices and their use."""

    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", title="Device", help="auto takes a GPU if there is one."
    )
    threads: int = option(
        1, title="CPU threads", help="Small models are fastest with one.", ge=1, le=256, expert=True
    )
    generation_rows: int = option(
        256,
        title="Generation rows",
        help="Answers that are sampled side by side.",
        ge=1,
        le=65_536,
        expert=True,
    )
    block: int = option(
        64,
        title="Block",
        help="Problems that are sampled together. Larger blocks waste less; no part of the job is smaller than one.",
        unit="problems",
        ge=1,
        le=100_000,
        expert=True,
    )


class JobSpec(Section):
    """A job over a whole data set."""

    version: Literal[1] = option(1, title="Version", help="Of this format.", expert=True)
    name: Name = option(
        "untitled", title="Name", help="What the job is called.", min_length=1, max_length=120
    )
    seed: int = option(
        0, title="Seed", help="The answers follow from it.", ge=0, le=2**31 - 1, expert=True
    )
    work: Work = option(title="Work", help="What is to be found out.", factory=PassRates)
    model: Author = option(
        title="Model", help="Who answers.", factory=lambda: ModelTeacher(model="builtin:student")
    )
    problems: TrainProblems = option(
        title="Problems", help="Every one of them is answered.", factory=ArithmeticProblems
    )
    prompt: str = option(
        "{question}",
        title="Prompt",
        help="What is asked; `{question}` stands for the problem's question.",
        expert=True,
    )
    verifier: Verifier = option(
        title="Verifier", help="How an answer is judged.", factory=NumericVerifier
    )
    verifier_seconds: float = option(
        5.0,
        title="Time limit per verdict",
        help="After this the verdict is “could not tell”.",
        unit="s",
        gt=0,
        le=60,
        expert=True,
    )
    confidence: Confidence = option(
        title="Confidence", help="Whether answers state how sure they are.", factory=NoConfidence
    )
    sampling: Sampling = option(title="Sampling", help="How answers are drawn.", factory=Sampling)
    compute: JobCompute = option(title="Compute", help="Devices and their use.", factory=JobCompute)

    @property
    def samples(self) -> int:
        return self.work.samples

    @field_validator("prompt")
    @classmethod
    def _asks_the_question(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError("must contain {question}, or nothing is asked")
        return prompt

    @model_validator(mode="after")
    def _makes_sense(self) -> JobSpec:
        context = getattr(self.model, "context", None)
        if isinstance(context, PrivilegedContext) and context.shows not in ("solution", "answer"):
            raise ValueError(
                f"model.context.shows is {context.shows}, which only a run has; choose solution or answer"
            )
        if isinstance(self.model, EndpointTeacher) and self.samples > 1:
            raise ValueError(
                "asks an endpoint for several answers to a problem, which it is asked once; set work.samples to 1"
            )
        return self


def load_job(source: str | Mapping[str, Any]) -> JobSpec:
    """The validated definition in YAML or JSON text, or in a dict. Raises SpecError with every
    complaint.
    """
    data = parse(source) if isinstance(source, str) else dict(source)
    try:
        return JobSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(translate(error, JobSpec)) from None


def issues_in_job(data: Mapping[str, Any]) -> list[SpecIssue]:
    """Every complaint about `data`; empty if it can be carried out."""
    try:
        load_job(data)
    except SpecError as error:
        return list(error.issues)
    return []


def blocks_of_part(problems: int, block: int, part: int, parts: int) -> list[range]:
    """Places of the problems of part number `part` (from 0) of `parts`, as its blocks. With fewer
    blocks than parts some are empty.
    """
    blocks = -(-problems // block)
    own = range(blocks * part // parts, blocks * (part + 1) // parts)
    return [range(number * block, min(problems, (number + 1) * block)) for number in own]

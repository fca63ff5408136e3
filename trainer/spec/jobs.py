"""The definition of a job: one model over one whole data set, without training.

A job is divided into parts, which any machines run in any order. Answers depend on this definition
alone: problems are sampled in blocks of `compute.block`, counted from the first problem, and a part
consists of whole blocks. A part that is repeated, on another machine or with another number of
parts, therefore gives the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from trainer.spec.base import OPSD, Name, Section, check_uri, option
from trainer.spec.confidence import Confidence, NoConfidence
from trainer.spec.data import (
    PROMPT_AND_VERIFIER,
    ArithmeticProblems,
    FileProblems,
    TrainProblems,
)
from trainer.spec.errors import SpecError, translate
from trainer.spec.networks import (
    EndpointTeacher,
    ModelTeacher,
    PlainContext,
    PrivilegedContext,
    ServedTeacher,
)
from trainer.spec.reader import parse
from trainer.spec.sampling import Sampling
from trainer.spec.verifiers import AnyVerifier
from trainer.spec.verifiers.numeric import NumericVerifier

PROBLEMS = ("Problems", "Every one of them is answered.")
Samples = Annotated[int, Field(ge=1, le=1024)]


class PassRates(Section):
    """The model's pass rate on each problem: mastered, frontier or hopeless."""

    kind: Literal["pass_rates"] = "pass_rates"
    samples: Samples = option(
        8, title="Answers per problem (K)", help="Answers from which a pass rate is estimated."
    )
    keep_texts: bool = option(
        False,
        title="Answer texts",
        help="Store the texts of the answers too; a large file.",
        expert=True,
    )


class TeacherAnswers(Section):
    """An answer to each problem to train on, as a data file for a teacher of kind `texts`."""

    kind: Literal["teacher_answers"] = "teacher_answers"
    samples: Samples = option(
        1,
        title="Answers per problem",
        help="The first right answer is stored, or the first if none is right. An endpoint writes "
        "one answer.",
    )


class Benchmark(Section):
    """The model's pass rate on a benchmark, with its interval, pass@k, lengths and calibration."""

    kind: Literal["evaluation"] = "evaluation"
    samples: Samples = option(
        4,
        title="Answers per problem",
        help="More answers give a narrower interval and allow a larger k.",
    )
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = option(
        (1, 4), title="pass@k", help="Values of k; k must not exceed the answers per problem."
    )
    keep_texts: bool = option(
        True, title="Answer texts", help="Store the texts of the answers too.", expert=True
    )

    @field_validator("pass_at")
    @classmethod
    def _enough_samples(cls, pass_at: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        # Absent if it is invalid itself, which has an issue of its own.
        samples = info.data.get("samples", math.inf)
        if too_large := [k for k in pass_at if k > samples]:
            raise ValueError(
                f"asks for pass@{too_large[0]} of {samples} answers to a problem; ask for more "
                f"answers or a smaller k"
            )
        return pass_at


class TeacherScores(Section):
    """The model's log-probs of the tokens of each worked solution, for a teacher of kind `scores`.

    The verifier and the sampling are not used, except for the longest answer: longer solutions are
    cut.
    """

    kind: Literal["teacher_scores"] = "teacher_scores"
    k: int = option(
        32,
        title="k",
        help="Number of the model's likeliest tokens that are stored at each token: 8 bytes each. "
        "A run may learn from as many or fewer.",
        ge=1,
        le=1024,
    )

    @property
    def samples(self) -> int:
        """One solution of each problem is scored."""
        return 1


Work = Annotated[
    PassRates | TeacherAnswers | Benchmark | TeacherScores, Field(discriminator="kind")
]


class QuestionContext(PlainContext):
    """It reads the question alone."""


class ReferenceContext(PrivilegedContext):
    """It reads the solution or the answer beside the question."""

    # A job has no student, whose answers the other texts of a run are made of.
    shows: Literal["solution", "answer"] = option(
        "solution",
        title="Privileged text",
        help="solution: the worked solution. answer: the short reference answer.",
        paper=OPSD,
    )
    template: str = option(
        PrivilegedContext.model_fields["template"].default,
        title="Prompt",
        help="`{question}` stands for the question, `{privileged}` for what is shown beside it.",
        expert=True,
        multiline=True,
    )


JobContext = Annotated[QuestionContext | ReferenceContext, Field(discriminator="kind")]


def _context() -> JobContext:
    field: JobContext = option(
        title="Context", help="What the model reads.", factory=QuestionContext
    )
    return field


class LoadedModel(ModelTeacher):
    """A model of the team, of the hub, or built in."""

    context: JobContext = _context()


class EndpointModel(EndpointTeacher):
    """A model behind an OpenAI-compatible endpoint, which returns texts."""

    context: JobContext = _context()


class ServedModel(ServedTeacher):
    """A model on a vLLM or SGLang server, which scores given tokens and writes none."""

    context: JobContext = _context()


class CheckpointModel(Section):
    """The student of a run at one of its checkpoints."""

    kind: Literal["checkpoint"] = "checkpoint"
    checkpoint: str = option(
        title="Checkpoint",
        help="`checkpoint:<run>@<step>`, or `file:<folder>` of a checkpoint in the folder of its "
        "run.",
    )

    @field_validator("checkpoint")
    @classmethod
    def _is_a_checkpoint(cls, checkpoint: str) -> str:
        check_uri(checkpoint, "checkpoint", "file")
        if checkpoint.startswith("checkpoint:") and not checkpoint.rpartition("@")[2].isdecimal():
            raise ValueError("must name the step, as in checkpoint:<run>@100")
        return checkpoint


JobModel = Annotated[
    LoadedModel | CheckpointModel | EndpointModel | ServedModel, Field(discriminator="kind")
]


class JobCompute(Section):
    """Devices and batch sizes."""

    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", title="Device", help="auto: a GPU if there is one."
    )
    threads: int = option(
        1, title="CPU threads", help="Small models are fastest with 1.", ge=1, le=256, expert=True
    )
    generation_rows: int = option(
        256,
        title="Generation rows",
        help="Answers that are sampled in one batch.",
        ge=1,
        le=65_536,
        expert=True,
    )
    # Answers are the same however a job is divided, because a part never cuts a block.
    block: int = option(
        64,
        title="Block size",
        help="Problems that are sampled together. Larger blocks are more efficient; a part has at "
        "least one block.",
        unit="problems",
        ge=1,
        le=100_000,
        expert=True,
    )


class JobSpec(Section):
    """A job over a whole data set."""

    version: Literal[1] = option(
        1, title="Version", help="Version of the format of definitions.", expert=True
    )
    name: Name = option(
        "untitled", title="Name", help="Name of the job.", min_length=1, max_length=120
    )
    seed: int = option(
        0, title="Seed", help="Seed of the answers.", ge=0, le=2**31 - 1, expert=True
    )
    work: Work = option(
        title="Work", help="What the job measures or writes.", factory=PassRates, heading=True
    )
    model: JobModel = option(
        title="Model",
        help="The model that answers.",
        factory=lambda: LoadedModel(model="builtin:student"),
        heading=True,
    )
    problems: TrainProblems = option(
        title="Problems",
        help="Every one of them is answered.",
        factory=ArithmeticProblems,
        heading=PROBLEMS,
    )
    held_out_share: float | None = option(
        None,
        title="Held-out share",
        help="Only the problems that a run on these problems holds out with this share are "
        "answered. Empty: all problems are.",
        gt=0,
        lt=1,
        expert=True,
        heading=PROBLEMS,
    )
    prompt: str = option(
        "{question}",
        title="Prompt",
        help="Prompt of the model; `{question}` stands for the problem's question.",
        expert=True,
        multiline=True,
        heading=PROMPT_AND_VERIFIER,
    )
    verifier: AnyVerifier = option(
        title="Verifier",
        help="Method that decides whether an answer is right.",
        factory=NumericVerifier,
        heading=PROMPT_AND_VERIFIER,
    )
    verifier_seconds: float = option(
        5.0,
        title="Time limit per verdict",
        help="After this time the verdict is “could not tell”.",
        unit="s",
        gt=0,
        le=60,
        expert=True,
        heading=PROMPT_AND_VERIFIER,
    )
    confidence: Confidence = option(
        title="Stated confidence",
        help="Whether answers state their confidence, so that it can be measured.",
        factory=NoConfidence,
        heading=True,
    )
    sampling: Sampling = option(
        title="Sampling", help="How answers are sampled.", factory=Sampling, heading=True
    )
    compute: JobCompute = option(
        title="Compute", help="Devices and batch sizes.", factory=JobCompute, heading=True
    )

    @property
    def samples(self) -> int:
        return self.work.samples

    @field_validator("prompt")
    @classmethod
    def _asks_the_question(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError("must contain {question}, or the model never sees the question")
        return prompt

    @model_validator(mode="after")
    def _check_combinations(self) -> JobSpec:
        if isinstance(self.model, EndpointTeacher) and self.samples > 1:
            raise ValueError(
                "asks an endpoint for several answers to a problem, which it is asked once; set "
                "work.samples to 1"
            )
        if isinstance(self.work, TeacherScores):
            self._can_be_scored(self.work)
        elif isinstance(self.model, ServedTeacher):
            raise ValueError(
                f"asks a model of kind served for {self.work.kind}, but it scores given tokens and "
                "writes none; choose teacher_scores as work, or another kind of model"
            )
        return self

    def _can_be_scored(self, work: TeacherScores) -> None:
        if isinstance(self.model, EndpointTeacher):
            raise ValueError(
                "asks an endpoint for scores, but an endpoint gives texts only; choose a model or "
                "a checkpoint"
            )
        if isinstance(self.model, ServedTeacher):
            gives = self.model.gives
            if gives.kind == "sampled":
                raise ValueError(
                    "asks for the likeliest tokens, but model.gives is sampled; choose top_k or "
                    "hidden_states"
                )
            if gives.kind == "top_k" and gives.k < work.k:
                raise ValueError(
                    f"asks for {work.k} likeliest tokens, but model.gives.k is {gives.k}; lower "
                    "work.k or raise that k"
                )
        if isinstance(self.problems, FileProblems) and self.problems.columns.solution is None:
            raise ValueError(
                "scores worked solutions, but the problems name no column of them; set "
                "problems.columns.solution to the column of the answers"
            )


def load_job(source: str | Mapping[str, Any]) -> JobSpec:
    """Validate a job definition from YAML or JSON text, or from a dict.

    Raises SpecError with all issues.
    """
    try:
        return JobSpec.model_validate(parse(source) if isinstance(source, str) else dict(source))
    except ValidationError as error:
        raise SpecError(translate(error, JobSpec)) from None


def blocks_of_part(problems: int, block: int, part: int, parts: int) -> list[range]:
    """Return the blocks of part number `part` (from 0) of `parts`, as ranges of problem indices.

    With fewer blocks than parts some parts have none.
    """
    blocks = -(-problems // block)
    # Whole numbers throughout: every block is in exactly one part, and parts differ by one block.
    numbers = range(blocks * part // parts, blocks * (part + 1) // parts)
    return [range(number * block, min(problems, (number + 1) * block)) for number in numbers]

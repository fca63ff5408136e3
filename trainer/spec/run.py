"""The definition of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from trainer.spec.base import Name, Section, Slug, option
from trainer.spec.data import Data
from trainer.spec.networks import Networks
from trainer.spec.operation import Checkpoints, Compute, Evaluation, Record
from trainer.spec.pool import Pool
from trainer.spec.rules.combinations import incompatible_settings
from trainer.spec.stages import Stage

VERSION = 2


class RunSpec(Section):
    """A distillation run of a language model."""

    version: Literal[2] = option(
        VERSION, title="Version", help="Version of the format of definitions.", expert=True
    )
    modality: Literal["text"] = option(
        "text", title="Modality", help="Kind of data that is distilled.", expert=True
    )
    recipe: Slug = option(
        "paced",
        title="Recipe",
        help="Published system that the definition is based on.",
        expert=True,
        provenance=True,
    )
    name: Name = option(
        "untitled",
        title="Name",
        help="Name of the run.",
        min_length=1,
        max_length=120,
    )
    seed: int = option(
        0, title="Seed", help="Seed of all random numbers of the run.", ge=0, le=2**31 - 1
    )
    networks: Networks = option(title="Networks", help="Student and teachers.", factory=Networks)
    data: Data = option(title="Data", help="Problems and verifier.", factory=Data)
    pool: Pool = option(
        title="Problem pool",
        help="Stage 0: the student's pass rate on every problem, and the weight that follows from "
        "it.",
        factory=Pool,
        heading=True,
    )
    stages: tuple[Stage, ...] = option(
        title="Stages", help="Stages of training, in order.", min_length=1, max_length=16
    )
    compute: Compute = option(
        title="Compute", help="Devices, memory and processes.", factory=Compute, heading=True
    )
    evaluation: Evaluation = option(
        title="Evaluation",
        help="What is measured on held-out problems.",
        factory=Evaluation,
        heading=True,
    )
    checkpoints: Checkpoints = option(
        title="Checkpoints",
        help="What is kept to resume from.",
        factory=Checkpoints,
        heading=True,
    )
    record: Record = option(
        title="Recorded rollouts",
        help="Rollouts that are recorded to be read.",
        factory=Record,
        heading=True,
    )

    @property
    def total_steps(self) -> int:
        return sum(stage.until.steps for stage in self.stages)

    @model_validator(mode="after")
    def _check_combinations(self) -> RunSpec:
        # A custom error, because pydantic joins the path of a ValueError to the model as a whole,
        # while each refusal belongs to a field of its own (`errors.translate`).
        if refusals := incompatible_settings(self):
            raise PydanticCustomError(
                "incompatible_settings",
                "{sentences}",
                {"sentences": " ".join(m for _, m in refusals), "refusals": refusals},
            )
        return self

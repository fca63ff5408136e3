"""RunSpec: the whole definition of a run, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from trainer.spec.base import Name, Section, Slug, option
from trainer.spec.data import Data
from trainer.spec.networks import Networks
from trainer.spec.operation import Checkpoints, Compute, Evaluation, Record
from trainer.spec.pool import Pool
from trainer.spec.rules.combinations import nonsense
from trainer.spec.stages import Stage

VERSION = 2


class RunSpec(Section):
    """A distillation run of a language model."""

    version: Literal[2] = option(VERSION, title="Version", help="Of this format.", expert=True)
    modality: Literal["text"] = option(
        "text", title="Modality", help="What is distilled.", expert=True
    )
    recipe: Slug = option(
        "paced",
        title="Recipe",
        help="The published system that this run started from.",
        expert=True,
    )
    name: Name = option(
        "untitled",
        title="Name",
        help="What the run is called on every page.",
        min_length=1,
        max_length=120,
    )
    seed: int = option(0, title="Seed", help="All randomness follows from it.", ge=0, le=2**31 - 1)
    networks: Networks = option(title="Networks", help="Student and teacher.", factory=Networks)
    data: Data = option(title="Data", help="Problems and verifier.", factory=Data)
    pool: Pool = option(title="Problem pool", help="Pass rates and problem weights.", factory=Pool)
    stages: tuple[Stage, ...] = option(
        title="Stages", help="Carried out one after the other.", min_length=1, max_length=16
    )
    compute: Compute = option(title="Compute", help="Devices.", factory=Compute)
    evaluation: Evaluation = option(
        title="Evaluation", help="Held-out measurements.", factory=Evaluation
    )
    checkpoints: Checkpoints = option(
        title="Checkpoints", help="What is kept to resume from.", factory=Checkpoints
    )
    record: Record = option(
        title="Recorded rollouts", help="What is kept to be read.", factory=Record
    )

    @property
    def total_steps(self) -> int:
        return sum(stage.until.steps for stage in self.stages)

    @model_validator(mode="after")
    def _makes_sense(self) -> RunSpec:
        if refusals := nonsense(self):
            raise PydanticCustomError(
                "nonsense",
                "{sentences}",
                {"sentences": " ".join(m for _, m in refusals), "refusals": refusals},
            )
        return self

"""RunSpec: the whole definition of a run, as data.

`load` reads YAML or JSON text, migrates older versions and returns the validated definition; `problems_in` lists every complaint
as (field path, sentence). Cross-field rules that make no sense together are refused here, with the reason.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import yaml
from pydantic import ValidationError, model_validator

from trainer.spec.base import Section, option
from trainer.spec.data import Data
from trainer.spec.networks import Networks
from trainer.spec.operation import Checkpoints, Compute, Evaluation
from trainer.spec.pool import Pool
from trainer.spec.stages import Stage

VERSION = 1


class RunSpec(Section):
    """A distillation run of a language model."""

    version: Literal[1] = option(VERSION, title="Version", help="Of this format.", expert=True)
    modality: Literal["text"] = option("text", title="Modality", help="What is distilled.", expert=True)
    recipe: str = option("paced", title="Recipe", help="The published system that this run started from.", pattern=r"^[a-z0-9_]{1,32}$")
    name: str = option("untitled", title="Name", help="What the run is called on every page.", min_length=1, max_length=120)
    seed: int = option(0, title="Seed", help="All randomness follows from it.", ge=0, le=2**31 - 1)
    networks: Networks = option(title="Networks", help="Student and teacher.", factory=Networks)
    data: Data = option(title="Data", help="Problems and verifier.", factory=Data)
    pool: Pool = option(title="Problem pool", help="Pass rates and problem weights.", factory=Pool)
    stages: tuple[Stage, ...] = option(title="Stages", help="Carried out one after the other.", min_length=1, max_length=16)
    compute: Compute = option(title="Compute", help="Devices.", factory=Compute)
    evaluation: Evaluation = option(title="Evaluation", help="Held-out measurements.", factory=Evaluation)
    checkpoints: Checkpoints = option(title="Checkpoints", help="What is kept.", factory=Checkpoints)

    @property
    def total_steps(self) -> int:
        return sum(stage.until.steps for stage in self.stages)

    @model_validator(mode="after")
    def _stage_names_differ(self) -> RunSpec:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need different names, got {', '.join(names)}")
        return self

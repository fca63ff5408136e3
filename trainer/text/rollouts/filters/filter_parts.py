"""What a filter may be built from, besides its own settings."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.spec import Confidence, Stage
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.teachers.loading import Teachers


@dataclass(frozen=True)
class FilterParts:
    """The stage, its judge and networks, and how answers state a confidence.

    `kind` is what the objective trains tokens by (`trainer.text.rollouts.records`).
    """

    stage: Stage
    sampler: SamplerAndJudge
    student: LanguageModel
    teachers: Teachers
    kind: int
    confidence: Confidence

"""Per-token signals of answers that are kept to be read but not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.engine.loop import Runtime
from trainer.text.answers import Answer
from trainer.text.costs import count_scored
from trainer.text.materials import Materials
from trainer.text.objectives.distillation import score
from trainer.text.recording import Signals, signals_of
from trainer.text.update import split


def scored(materials: Materials, answers: Sequence[Answer], rt: Runtime) -> list[Signals]:
    """Signals of each answer at temperature 1; the divergence is KL(student ‖ teacher)."""
    rows = [(answer.prompt, answer.ids) for answer in answers]
    statistics = score(materials.student, materials.teacher, rows, "reverse_kl", 1.0)
    count_scored(rt, materials.student, materials.teacher, answers)
    return [signals_of(materials.student, part) for part in split(statistics, [len(answer.ids) for answer in answers])]

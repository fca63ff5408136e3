"""Load the model of a job: from the hub, a folder, or a checkpoint of a run.

A checkpoint is in the folder of its run, RUN/attempts/<n>/checkpoints/<step>; RUN/spec.json names
the network that it belongs to.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from trainer.engine import checkpoints
from trainer.engine.checkpoints import DamagedCheckpoint
from trainer.engine.outcome import RunRefused
from trainer.spec import load
from trainer.spec.jobs import CheckpointModel
from trainer.spec.networks import ModelTeacher
from trainer.text.language import models
from trainer.text.language.models import LanguageModel
from trainer.text.training.components import load_student
from trainer.text.training.update import GROUP

# Name of the averaged weights in a checkpoint.
AVERAGE = "ema"


def load_model(
    settings: ModelTeacher | CheckpointModel, seed: int, device: torch.device
) -> LanguageModel:
    """Load a model ready to sample from.

    Raises ModelError, and RunRefused for a checkpoint that cannot be used.
    """
    if isinstance(settings, ModelTeacher):
        return models.load(settings, seed, device, frozen=True)
    folder = Path(settings.checkpoint.removeprefix("file:"))
    try:
        snapshot = checkpoints.load(folder)
        spec = load((folder.parents[3] / "spec.json").read_text())
    except (DamagedCheckpoint, OSError, IndexError) as error:
        raise RunRefused(
            f"The checkpoint {folder} cannot be used: {error}.", "Choose another one."
        ) from error
    student = load_student(spec, device)
    # The averages, where the run evaluates those.
    weights = snapshot.tensors.get(AVERAGE, snapshot.tensors[GROUP])
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights[name])
    return replace(student, eos_ids=_stored_ends(folder) or student.eos_ids)


def _stored_ends(checkpoint: Path) -> tuple[int, ...]:
    """Return the end tokens of the trained student, which may have those of its teacher too."""
    try:
        settings = json.loads((checkpoint / "generation_config.json").read_text())
        return tuple(int(end) for end in settings["eos_token_id"])
    # Checkpoints of older versions have no such file.
    except (OSError, ValueError, KeyError, TypeError):
        return ()

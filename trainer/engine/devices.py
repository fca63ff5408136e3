"""Which device a run uses, and what makes its numbers repeatable there."""

from __future__ import annotations

import torch

from trainer.engine.outcome import Refused
from trainer.spec.operation import Compute


def prepare(compute: Compute) -> torch.device:
    """Choose the device and fix threads and algorithms. Raises Refused where a GPU is asked for and there is none."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise Refused("The run asks for a GPU, and this machine has none that torch can use.", "Set compute.device to cpu or auto.")
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda" if compute.device != "cpu" and torch.cuda.is_available() else "cpu")

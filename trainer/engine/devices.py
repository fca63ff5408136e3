"""Which device a run uses, and what makes its numbers repeatable there."""

from __future__ import annotations

import torch

from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.outcome import RunRefused
from trainer.spec.operation import Compute


def prepare(compute: Compute, place: ProcessRank) -> torch.device:
    """Choose the device and fix threads and algorithms. Several processes on a machine with GPUs
    get one each.

    Raises RunRefused where there are fewer GPUs than are asked for.
    """
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise RunRefused(
            "The run asks for a GPU, and this machine has none that torch can use.",
            "Set compute.device to cpu or auto.",
        )
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if compute.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if place.local_rank >= torch.cuda.device_count():
        raise RunRefused(
            f"The run asks for at least {place.local_rank + 1} processes on this machine, which has {torch.cuda.device_count()} GPUs.",
            "Lower compute.processes to their number, or set compute.device to cpu.",
        )
    if place.size > 1:
        torch.cuda.set_device(place.local_rank)
    return torch.device("cuda", place.local_rank) if place.size > 1 else torch.device("cuda")

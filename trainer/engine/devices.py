"""The device of a run, and the torch settings that make its numbers repeatable there."""

from __future__ import annotations

import torch

from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.outcome import RunRefused
from trainer.spec.operation import Compute


def prepare(compute: Compute, rank: ProcessRank) -> torch.device:
    """Set threads and deterministic algorithms, and return the device of this rank.

    Several processes on a machine with GPUs get one GPU each. Raises RunRefused if there are fewer
    GPUs than the definition asks for.
    """
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise RunRefused(
            "The run asks for a GPU, and this machine has none that torch can use.",
            "Set compute.device to cpu or auto.",
        )
    # Sums over several threads are split differently, so the same numbers need the same count.
    torch.set_num_threads(compute.threads)
    # A warning only: an operator without a deterministic variant shall not end a run.
    torch.use_deterministic_algorithms(True, warn_only=True)
    if compute.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if rank.local_rank >= torch.cuda.device_count():
        raise RunRefused(
            f"The run asks for at least {rank.local_rank + 1} processes on this machine, which has "
            f"{torch.cuda.device_count()} GPUs.",
            "Lower compute.processes to their number, or set compute.device to cpu.",
        )
    # NCCL's collectives use the current device, which would be GPU 0 in every process.
    if rank.size > 1:
        torch.cuda.set_device(rank.local_rank)
    return torch.device("cuda", rank.local_rank) if rank.size > 1 else torch.device("cuda")

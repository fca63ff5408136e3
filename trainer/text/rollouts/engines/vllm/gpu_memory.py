"""The GPUs of a vLLM server beside the trainer, and the share of their memory that it asks for.

    server   weights / GPUs + keys and values + OVERHEAD     on each of its GPUs
    share    server / memory of the GPU

vLLM's own default, 0.92 of the card, is refused by it on a card that also holds the trainer: it
starts only where its whole share is free.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from trainer.engine.outcome import RunRefused
from trainer.spec.operation import VllmSampler
from trainer.text.language.models import NUMBER_FORMATS, LanguageModel

GIB = 2**30
# CUDA's context, activations and CUDA graphs of a server of a model of a few billion parameters.
OVERHEAD = 3 * GIB
# Gradient and two moments of AdamW, in float32: what the trainer allocates after the server starts.
TRAINED_BYTES = 12


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of one GPU: `total`, and `free` while trainer and teachers are loaded."""

    total: int
    free: int


def gpu_names(
    settings: VllmSampler, own: int, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the server's GPUs as CUDA_VISIBLE_DEVICES names them; `own` is the trainer's.

    Numbers count the GPUs that the trainer sees. Without any, the server takes the trainer's GPU
    and, with tensor parallelism, those after it.
    """
    numbers = settings.devices or tuple(range(own, own + settings.tensor_parallel))
    visible = [
        name.strip()
        for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if name.strip()
    ]
    if not visible:
        return tuple(map(str, numbers))
    if missing := [number for number in numbers if number >= len(visible)]:
        raise RunRefused(
            f"compute.sampler.devices: there is no GPU {missing[0]}; the run sees {len(visible)}.",
            "Choose other devices or a lower tensor_parallel.",
        )
    return tuple(visible[number] for number in numbers)


def server_bytes(student: LanguageModel, dtype: str, settings: VllmSampler) -> int:
    """Return what the server needs of each of its GPUs."""
    parameters = sum(parameter.numel() for parameter in student.model.parameters())
    weights = parameters * NUMBER_FORMATS[dtype].itemsize // settings.tensor_parallel
    return weights + int(settings.memory * GIB) + OVERHEAD


def gpu_share(needed: int, memory: Sequence[GpuMemory]) -> float:
    """Return the share of its GPUs' memory that the server asks for.

    Raises RunRefused if one of them has less free memory than is needed.
    """
    least_free = min(gpu.free for gpu in memory)
    if needed > least_free:
        raise RunRefused(
            f"The vLLM server needs {needed / GIB:.1f} GiB of GPU memory beside the trainer, and "
            f"{least_free / GIB:.1f} GiB are free.",
            "Give it GPUs of its own (compute.sampler.devices), a smaller KV cache "
            "(compute.sampler.memory) or more GPUs (tensor_parallel), or choose in_process.",
        )
    # One share holds for all GPUs, so the smallest card decides. vLLM takes two digits literally.
    return round(needed / min(gpu.total for gpu in memory), 4)


def warning(needed: int, memory: Sequence[GpuMemory], student: LanguageModel) -> str:
    """Return a warning if gradients and moments may not fit beside the server, else ""."""
    trained = sum(
        parameter.numel() for parameter in student.model.parameters() if parameter.requires_grad
    )
    growth, free = trained * TRAINED_BYTES, min(gpu.free for gpu in memory)
    if needed + growth <= free:
        return ""
    return (
        f"The vLLM server takes {needed / GIB:.1f} GiB of the {free / GIB:.1f} GiB of GPU memory "
        f"that are free, and gradients and moments may need {growth / GIB:.1f} GiB more. Give the "
        "server a GPU of its own (compute.sampler.devices) if memory runs out."
    )


def measured(count: int, own: int, settings: VllmSampler) -> list[GpuMemory]:
    """Return the memory of the server's GPUs now, after the trainer's unused memory is freed."""
    torch.cuda.empty_cache()
    numbers = settings.devices or tuple(range(own, own + count))
    infos = (torch.cuda.mem_get_info(number) for number in numbers)
    return [GpuMemory(total, free) for free, total in infos]

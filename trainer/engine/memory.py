"""Running out of memory in the middle of an update, and doing that update again in smaller pieces.

The gradient of a round is a sum over micro-batches, so half as many rows at a time give the same
gradient within rounding. What was gathered before memory ran out is thrown away, random generators
go back to where they were, and the whole phase is computed again.
"""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else "an allocation failed"


class RandomState:
    """Where torch's generators stand, to go back to."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def release(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""Recovery when memory runs out: the phase or evaluation is repeated in smaller batches.

The gradient of a round is a sum over micro-batches, so half as many rows at a time give the same
gradient within rounding; and a sampled answer does not depend on the answers beside it. The
gradients accumulated so far are discarded, the random generators are set back, and the whole phase
is computed again.
"""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that memory ran out, on any device."""
    # torch's CPU allocator raises a plain RuntimeError, known only by its text.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def first_line(error: BaseException) -> str:
    # torch's message goes on with several lines about its allocator. A MemoryError has no message.
    return str(error).splitlines()[0] if str(error) else "an allocation failed"


class RandomState:
    """The state of torch's random generators when it was created, to restore later."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def release(device: torch.device) -> None:
    """Free memory that nothing refers to any more, the caching allocator's too."""
    # Tensors of the failed pass may be part of reference cycles, which only the collector frees;
    # the allocator can return only what has been freed.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""Parameters and moments, whether they are whole or lie in shards over several processes (torch's
`DTensor`).

In a run of one process, or of several that each hold everything, none of this sends or copies more
than it must. torch's distributed tensors take a second to import and are loaded only where there
are shards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """The tensor itself, or what its shards make together. Every rank must ask."""
    shards: Any = tensor
    return torch.Tensor.detach(shards.full_tensor()) if is_sharded(tensor) else tensor.detach()


def placed_like(target: Tensor, value: Tensor) -> Tensor:
    """A whole tensor on the target's device, in shards if the target is. Nothing is sent."""
    value = value.detach().to(target.device)
    if not is_sharded(target):
        return value
    from torch.distributed.tensor import distribute_tensor

    shards: Any = target
    return distribute_tensor(value, shards.device_mesh, shards.placements, src_data_rank=None)


@torch.no_grad()
def swap_values(parameter: Parameter, other: Tensor) -> Tensor:
    """Give a parameter the values of `other` and return those that it had; `other` may be used
    up.
    """
    if not is_sharded(parameter):
        before, parameter.data = parameter.data, other
        return before
    before = (
        parameter.detach().clone()
    )  # FSDP2 reads the shards' own storage, which therefore must stay
    parameter.copy_(other)
    return before

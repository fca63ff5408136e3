"""Parameters and moments, whether whole or sharded over several processes (torch's `DTensor`).

In a run of one process, or of several that each hold everything, nothing here sends or copies more
than it must. torch's distributed tensors take a second to import, so they are loaded only where
there are shards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


def is_sharded(tensor: Tensor) -> bool:
    # By attribute and not by class, which would import torch's distributed tensors.
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor itself, or its gathered shards. Every rank must call this."""
    shards: Any = tensor
    return torch.Tensor.detach(shards.full_tensor()) if is_sharded(tensor) else tensor.detach()


def placed_like(target: Tensor, value: Tensor) -> Tensor:
    """Return a whole tensor on the target's device, sharded if the target is. Sends nothing."""
    value = value.detach().to(target.device)
    if not is_sharded(target):
        return value
    from torch.distributed.tensor import distribute_tensor

    shards: Any = target
    # Without a source rank every rank cuts its shard out of its own copy, which all have loaded.
    return distribute_tensor(value, shards.device_mesh, shards.placements, src_data_rank=None)


@torch.no_grad()
def swap_values(parameter: Parameter, values: Tensor) -> Tensor:
    """Give a parameter new values and return its old ones; `values` must not be used afterwards."""
    if not is_sharded(parameter):
        old_values, parameter.data = parameter.data, values
        return old_values
    # FSDP2 reads the shards' own storage, so the storage must stay and the values are copied.
    old_values = parameter.detach().clone()
    parameter.copy_(values)
    return old_values

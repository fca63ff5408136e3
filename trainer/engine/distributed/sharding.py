"""A trained network whose parameters lie in shards over all processes (FSDP2), and how to compute
with it.

Gradients: inside `forward`, each block fetches its parameters when it is computed and lets go of
them afterwards; their gradients are summed over the ranks, not averaged, and stay in shards.
Everything that the gradient flows through must therefore be computed inside `forward`, by every
rank equally often.

Everything else (sampling, scoring, evaluation) computes with `whole` parameters, which costs one
fetch, and then each rank is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from trainer.engine.distributed.world import World

R = TypeVar("R")


class Computation(nn.Module):
    """The module whose forward pass is whatever it is given; it holds the network so that the
    network's parameters are its own.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], R]) -> R:
        return compute()


class Sharded:
    """`network`, whose `blocks` (its layers, say) are fetched one by one and the rest of it
    together.
    """

    def __init__(self, network: nn.Module, blocks: Sequence[nn.Module], world: World) -> None:
        mesh = world.mesh()
        for block in blocks:
            fully_shard(block, mesh=mesh)
        root: Any = fully_shard(Computation(network), mesh=mesh)
        self._root = root
        self._parts: list[Any] = [
            module for module in root.modules() if isinstance(module, FSDPModule)
        ]
        for part, before in zip(self._parts, [self._parts[-1], *self._parts], strict=False):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
            # Without being told, FSDP2 goes by the order of earlier passes, and each rank has made
            # its own number of those alone.
            part.set_modules_to_backward_prefetch([before])
        self._is_whole = False
        root(lambda: None)  # the first pass sets up the parts, from the root down
        self._release()

    def forward(self, compute: Callable[[], R]) -> R:
        """Compute a loss. Whatever the gradient flows back from must be a tensor or stand in a
        tuple, list or dict.
        """
        found: R = self._root(compute)
        return found

    @contextmanager
    def full_parameters(self) -> Iterator[None]:
        """The network as if there were one process, without gradients."""
        self._fetch()
        try:
            yield
        finally:
            self._release()

    def refresh(self) -> None:
        """Fetch again what is whole, because the shards were changed."""
        if self._is_whole:
            self._release()
            self._fetch()

    def _fetch(self) -> None:
        self._is_whole = True
        for part in self._parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def _release(self) -> None:
        self._is_whole = False
        for part in self._parts:
            part.reshard()
            part.set_reshard_after_forward(part is not self._root, recurse=False)

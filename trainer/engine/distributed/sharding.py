"""A trained network whose parameters are sharded over all processes (FSDP2).

Inside `forward`, each block fetches its parameters when it is computed and frees them afterwards.
Gradients are summed over the ranks, not averaged, and stay sharded. Everything that the gradient
flows through must therefore be computed inside `forward`, and by every rank the same number of
times.

Everything else (sampling, scoring, evaluation) computes with `full_parameters`, which costs one
fetch; the ranks are independent of each other inside it.
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
    """A module whose forward pass calls a given function; it owns the network's parameters.

    FSDP2 fetches parameters by hooks on a module's forward pass, but a loss is not one module.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], R]) -> R:
        return compute()


class Sharded:
    """A sharded network. Its `blocks` (layers) are fetched one by one, the rest in one piece."""

    def __init__(self, network: nn.Module, blocks: Sequence[nn.Module], world: World) -> None:
        mesh = world.mesh()
        for block in blocks:
            fully_shard(block, mesh=mesh)
        # Blocks first, then the root, which then takes only the parameters that no block has.
        root: Any = fully_shard(Computation(network), mesh=mesh)
        self._root = root
        self._modules: list[Any] = [
            module for module in root.modules() if isinstance(module, FSDPModule)
        ]
        earlier = [self._modules[-1], *self._modules]
        for module, previous in zip(self._modules, earlier, strict=False):
            # The loop divides by Z itself, so the ranks' gradients are summed, not averaged.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            # By default FSDP2 prefetches in the order of earlier passes. The ranks have made
            # different numbers of passes on their own, so that their orders would differ.
            module.set_modules_to_backward_prefetch([previous])
        self._is_full = False
        # The first pass initialises the modules, and it must be the root's: a block that is
        # computed alone first would take itself for a root.
        root(lambda: None)
        self._release()

    def forward(self, compute: Callable[[], R]) -> R:
        """Compute a loss: a tensor, or a tuple, list or dict with the tensors to differentiate."""
        loss: R = self._root(compute)
        return loss

    @contextmanager
    def full_parameters(self) -> Iterator[None]:
        """Hold all parameters as in a single process, for computing without gradients."""
        self._fetch()
        try:
            yield
        finally:
            self._release()

    def refresh(self) -> None:
        """Fetch full parameters again after the shards changed; without effect outside of them."""
        if self._is_full:
            self._release()
            self._fetch()

    def _fetch(self) -> None:
        self._is_full = True
        for module in self._modules:
            # Without this the first forward pass would free a block again that later passes need.
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()

    def _release(self) -> None:
        self._is_full = False
        for module in self._modules:
            # The root stays fetched after its forward pass, as in FSDP2's default, because the
            # backward pass begins with its parameters.
            module.reshard()
            module.set_reshard_after_forward(module is not self._root, recurse=False)

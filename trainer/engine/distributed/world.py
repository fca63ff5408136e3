"""The processes of a run and the collective operations between them.

Every process holds the same state and takes the same decisions, because each sees the same numbers.
Only work is divided: answers to sample, rows to differentiate, problems to evaluate. The ranks
`gather` their results before anything is decided by them. One process is a world of size 1, which
sends nothing.

The rank comes from the environment variables of `torchrun`: RANK, LOCAL_RANK, WORLD_SIZE,
MASTER_ADDR, MASTER_PORT. Processes that `processes` started on one machine meet in a file instead
of at a port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed

from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.outcome import RendezvousFailed

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")

SINGLE_PROCESS = ProcessRank()
# One rank may verify answers, or write a checkpoint, while the others wait in a collective.
COLLECTIVE_TIMEOUT = timedelta(hours=2)
# Machines start at about the same time, but one may have to fetch files first.
RENDEZVOUS_TIMEOUT = timedelta(minutes=15)
# Largest all-reduce message, in numbers (64 MiB of float32): a few large messages cost less than
# many small ones, and the limit bounds the memory of the flat copy.
BUCKET_NUMBERS = 1 << 24


class World:
    """This process among `size`.

    All methods but `divide` are collectives: every rank must call them, in the same order.
    """

    def __init__(
        self, rank: ProcessRank = SINGLE_PROCESS, device: torch.device | None = None
    ) -> None:
        self.rank, self.size, self.is_leader = rank.rank, rank.size, rank.is_leader
        self._device = device or torch.device("cpu")
        if self.size > 1:
            _join(rank)

    def divide(self, items: Sequence[T]) -> list[T]:
        """Return the items of this rank: every `size`-th one."""
        # Strided, so that items sorted by length give every rank about the same amount of work.
        return list(items[self.rank :: self.size])

    def gather(self, local: Sequence[T]) -> list[T]:
        """Return the results of all ranks in the order of the items that `divide` split.

        `local` holds one result for each item of this rank. Tensors should be on the CPU.
        """
        if self.size == 1:
            return list(local)
        by_rank: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(by_rank, list(local))
        count = sum(map(len, by_rank))
        return [by_rank[index % self.size][index // self.size] for index in range(count)]

    def concatenate(self, local: Sequence[T]) -> list[T]:
        """Return the items of all ranks, rank by rank, however many each has.

        Tensors should be on the CPU.
        """
        if self.size == 1:
            return list(local)
        by_rank: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(by_rank, list(local))
        return [item for items in by_rank for item in items]

    def max(self, number: int) -> int:
        """Return the largest of the ranks' numbers."""
        return int(self.elementwise_max([number])[0])

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true on at least one rank."""
        return bool(self.max(int(flag)))

    def all_equal(self, number: int) -> bool:
        """Return whether all ranks have the same number."""
        # One message instead of two: the largest negated number is the smallest one, negated.
        largest, negated_smallest = self.elementwise_max([number, -number])
        return largest == -negated_smallest

    def elementwise_max(self, numbers: Sequence[float]) -> list[float]:
        """Return, for each index, the largest of the ranks' numbers."""
        return self._reduced(numbers, "MAX")

    def sum(self, number: float) -> float:
        """Return the sum of the ranks' numbers."""
        return self._reduced([number], "SUM")[0]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, bit for bit the same on each."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            distributed.all_reduce(flat)
            summed = flat.split([tensor.numel() for tensor in bucket])
            for tensor, values in zip(bucket, summed, strict=True):
                tensor.copy_(values.view_as(tensor))

    def broadcast_from_leader(self, make: Callable[[], T]) -> T:
        """Return what `make` returns on the leading rank; the others do not call it.

        For results that cost money or may differ between calls, such as answers of an endpoint.
        """
        if self.size == 1:
            return make()
        objects: list[Any] = [make() if self.is_leader else None]
        distributed.broadcast_object_list(objects, src=0)
        result: T = objects[0]
        return result

    def mesh(self) -> DeviceMesh:
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self._device.type, (self.size,))

    def close(self) -> None:
        """Wait for all ranks, so that no rank counts as lost while another still writes."""
        if self.size > 1:
            self.sum(0.0)
            distributed.destroy_process_group()

    def _reduced(self, numbers: Sequence[float], operation: str) -> list[float]:
        if self.size == 1:
            return list(numbers)
        # On the CPU, by gloo, even with GPUs: the numbers are needed here at once, and float64
        # holds counts of tokens exactly.
        tensor = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(tensor, getattr(distributed.ReduceOp, operation))
        return [float(number) for number in tensor]


# Words in the messages of gloo and NCCL; torch has no exception class of its own for a lost peer.
LOST_PEER_MESSAGES = (
    "closed by peer",
    "connection reset",
    "connection refused",
    "remote process exited",
    "timed out",
)


def is_lost_peer(error: BaseException) -> bool:
    """Return whether the error only says that another rank does not answer any more."""
    return isinstance(error, RuntimeError) and any(
        message in str(error).lower() for message in LOST_PEER_MESSAGES
    )


def _join(rank: ProcessRank) -> None:
    # Both with GPUs: NCCL has no collectives for tensors on the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # Neither is given to ranks of torchrun, for which torch reads MASTER_ADDR and MASTER_PORT.
    meeting: dict[str, Any] = {}
    if rank.address:
        meeting = {"store": _store(rank)}
    elif rank.init_method is not None:
        meeting = {"init_method": rank.init_method}
    distributed.init_process_group(
        backend, rank=rank.rank, world_size=rank.size, timeout=COLLECTIVE_TIMEOUT, **meeting
    )


def _store(rank: ProcessRank) -> Any:
    """Return torch's store once the ranks of all machines have connected to it.

    Raises RendezvousFailed.
    """
    from torch.distributed.rendezvous import rendezvous

    url = f"tcp://{rank.address}"
    try:
        return next(rendezvous(url, rank.rank, rank.size, timeout=RENDEZVOUS_TIMEOUT))[0]
    except distributed.DistError as error:
        cause = str(error).strip().splitlines()[0].rstrip(".")
        # torch has one exception class for every cause; only the errno in its text says which.
        cause = "that port is taken" if "EADDRINUSE" in cause else cause
        raise RendezvousFailed(cause, rank) from error


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group neighbours of one dtype: at most BUCKET_NUMBERS numbers each, or a single tensor."""
    buckets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        if not buckets or tensor.numel() > room or tensor.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET_NUMBERS
        buckets[-1].append(tensor)
        room -= tensor.numel()
    return buckets

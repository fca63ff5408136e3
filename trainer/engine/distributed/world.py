"""The processes of a run, and what they say to each other.

Every process holds the same state and takes the same decisions, because each sees the same numbers;
only work is divided: answers to sample, rows to differentiate, problems to evaluate. What a rank
has made it shows to all (`gather`) before anything is decided by it. One process is a world of size
1, in which nothing is sent and nothing of torch's distribution is loaded.

Processes are told their places by the environment variables of `torchrun`: RANK, LOCAL_RANK,
WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Those that `processes` has started on one machine meet in a
file instead of at a port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.outcome import RendezvousFailed

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")

ALONE = ProcessRank()
PATIENCE = timedelta(hours=2)  # one rank may verify, or write a checkpoint, while the others wait
TO_MEET = timedelta(
    minutes=15
)  # machines begin at about the same time, but one may have files to fetch first
BUCKET_NUMBERS = 1 << 24


class World:
    """This process among `size`. All methods but `divide` must be called by every rank, in the same
    order.
    """

    def __init__(self, place: ProcessRank = ALONE, device: torch.device | None = None) -> None:
        self.rank, self.size, self.is_leader = place.rank, place.size, place.is_leader
        self._device = device or torch.device("cpu")
        if self.size > 1:
            _join(place)

    def divide(self, items: Sequence[T]) -> list[T]:
        """The items that fall to this rank: every `size`-th one."""
        return list(items[self.rank :: self.size])

    def gather(self, local: Sequence[T]) -> list[T]:
        """What all ranks have made of the items that `divide` gave them, in the items' order.
        Tensors should be on the CPU.
        """
        if self.size == 1:
            return list(local)
        from torch import distributed

        parts: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, list(local))
        return [parts[at % self.size][at // self.size] for at in range(sum(map(len, parts)))]

    def max(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        return int(self.elementwise_max([number])[0])

    def any(self, yes: bool) -> bool:
        """Whether at least one rank says yes."""
        return bool(self.max(int(yes)))

    def all_equal(self, number: int) -> bool:
        """Whether all ranks have the same number."""
        most, least = self.elementwise_max([number, -number])
        return most == -least

    def elementwise_max(self, numbers: Sequence[float]) -> list[float]:
        """ProcessRank by place the largest of the ranks' numbers."""
        return self._agreed(numbers, "MAX")

    def sum(self, number: float) -> float:
        """The sum of the ranks' numbers."""
        return self._agreed([number], "SUM")[0]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, bit for bit the same everywhere. A few
        large messages, not many small ones.
        """
        if self.size == 1:
            return
        from torch import distributed

        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            distributed.all_reduce(flat)
            for tensor, part in zip(
                bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True
            ):
                tensor.copy_(part.view_as(tensor))

    def broadcast_from_leader(self, make: Callable[[], T]) -> T:
        """What the leading rank makes, such as answers that cost money or may differ from one
        asking to the next.
        """
        if self.size == 1:
            return make()
        from torch import distributed

        made: list[Any] = [make() if self.is_leader else None]
        distributed.broadcast_object_list(made, src=0)
        found: T = made[0]
        return found

    def mesh(self) -> DeviceMesh:
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self._device.type, (self.size,))

    def close(self) -> None:
        """Wait for all, so that none is missed while another one still writes, and part."""
        if self.size > 1:
            from torch import distributed

            self.sum(0.0)
            distributed.destroy_process_group()

    def _agreed(self, numbers: Sequence[float], how: str) -> list[float]:
        if self.size == 1:
            return list(numbers)
        from torch import distributed

        said = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(said, getattr(distributed.ReduceOp, how))
        return [float(number) for number in said]


SILENCES = (
    "closed by peer",
    "connection reset",
    "connection refused",
    "remote process exited",
    "timed out",
)


def is_lost_peer(error: BaseException) -> bool:
    """Whether the error only says that another rank no longer answers."""
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in SILENCES
    )


def _join(place: ProcessRank) -> None:
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where: dict[str, Any] = (
        _meeting(place)
        if place.port
        else {}
        if place.meeting is None
        else {"init_method": place.meeting}
    )
    distributed.init_process_group(
        backend, rank=place.rank, world_size=place.size, timeout=PATIENCE, **where
    )


def _meeting(place: ProcessRank) -> dict[str, Any]:
    """Where the ranks of several machines find each other, once all are there, as torch has it.
    Raises RendezvousFailed.
    """
    from torch.distributed import DistError
    from torch.distributed.rendezvous import rendezvous

    try:
        return {
            "store": next(
                rendezvous(f"tcp://{place.port}", place.rank, place.size, timeout=TO_MEET)
            )[0]
        }
    except DistError as error:
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise RendezvousFailed(
            "that port is taken" if "EADDRINUSE" in said else said, place
        ) from error


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one number format, together at most BUCKET_NUMBERS numbers (or a single
    tensor).
    """
    found: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        if not found or tensor.numel() > room or tensor.dtype != found[-1][0].dtype:
            found.append([])
            room = BUCKET_NUMBERS
        found[-1].append(tensor)
        room -= tensor.numel()
    return found

"""Which process of a run this one is. Known without torch, because the process that starts the
others asks it too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Folder in which the ranks that `processes` started meet and leave their endings
RANKS = "TRAINER_RANKS"
MEETING = "TRAINER_MEETING"  # host:port where ranks of several machines meet
MICRO_SCALE = "TRAINER_MICRO_SCALE"  # share of compute.micro_batch_tokens, after memory ran out


@dataclass(frozen=True)
class MachineRank:
    """This machine's number among `count` that carry out a run together, and the `host:port` on
    machine 0 where their ranks meet.
    """

    count: int = 1
    number: int = 0
    meeting: str = ""

    @property
    def is_leader(self) -> bool:
        return self.number == 0


@dataclass(frozen=True)
class ProcessRank:
    """`rank` of `size`, and the place among the processes of this machine, which chooses the GPU.

    `folder` is where ranks that were started by `processes` leave their endings, and meet unless
    those of several machines meet at `port` (a host:port); None for those that torchrun started,
    and for a process alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    folder: Path | None = None
    port: str = ""

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    @property
    def meeting(self) -> str | None:
        """Where ranks of one machine meet, as torch has it; None where torchrun has told it."""
        return None if self.folder is None else (self.folder / "meeting").as_uri()

    @property
    def ending(self) -> Path | None:
        """Where this rank says how it ended; None where it says so itself in the event log."""
        return None if self.folder is None else self.folder / f"ending-{self.rank}.json"


def rank_of_this_process() -> ProcessRank | None:
    """The place that whoever started this process (`processes` or torchrun) gave it; None where
    nobody did.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    folder = Path(os.environ[RANKS]) if RANKS in os.environ else None
    return ProcessRank(
        rank, size, int(os.environ.get("LOCAL_RANK", rank)), folder, os.environ.get(MEETING, "")
    )


def rank_variables(place: ProcessRank, micro_scale: float) -> dict[str, str]:
    """What a process must find in its environment to know its place."""
    told: dict[str, object] = {
        "RANK": place.rank,
        "LOCAL_RANK": place.local_rank,
        "WORLD_SIZE": place.size,
        RANKS: place.folder,
    }
    if place.port:
        told[MEETING] = place.port
    if micro_scale < 1:
        told[MICRO_SCALE] = micro_scale
    return {name: str(value) for name, value in told.items()}


def micro_scale_variable() -> float | None:
    """The share of the micro-batch that this process was told to compute with; None where nothing
    was said.
    """
    told = os.environ.get(MICRO_SCALE)
    return None if told is None else float(told)

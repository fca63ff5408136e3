"""The rank of this process among the processes of a run, read from environment variables.

Imports without torch, because the process that only starts and watches the ranks reads it too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Folder in which the ranks that `processes` started meet and write how they ended.
RANKS = "TRAINER_RANKS"
# host:port where ranks of several machines meet.
MEETING = "TRAINER_MEETING"
# Share of compute.micro_batch_tokens, after memory ran out.
MICRO_SCALE = "TRAINER_MICRO_SCALE"


@dataclass(frozen=True)
class MachineRank:
    """This machine's number among the `count` machines of a run.

    `meeting` is the `host:port` on machine 0 where the ranks of all machines meet.
    """

    count: int = 1
    number: int = 0
    meeting: str = ""

    @property
    def is_leader(self) -> bool:
        return self.number == 0


@dataclass(frozen=True)
class ProcessRank:
    """`rank` of `size` processes; `local_rank` is the index on this machine, which chooses the GPU.

    `folder` is where ranks that `processes` started write how they ended; it is None for ranks that
    torchrun started and for a single process. Ranks of one machine also meet there; ranks of
    several machines meet at `address`, a host:port.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    folder: Path | None = None
    address: str = ""

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    @property
    def init_method(self) -> str | None:
        """`init_method` of torch for ranks of one machine; None where torchrun has set one."""
        # A file and not a port: no port can be taken, and nobody else on the machine can connect.
        return None if self.folder is None else (self.folder / "meeting").as_uri()

    @property
    def exit_file(self) -> Path | None:
        """File for this rank's `RunExit`; None where the rank itself writes the `end` event."""
        return None if self.folder is None else self.folder / f"ending-{self.rank}.json"


def rank_of_this_process() -> ProcessRank | None:
    """Return the rank that `processes` or torchrun gave this process; None for a single process."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    folder = Path(os.environ[RANKS]) if RANKS in os.environ else None
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    return ProcessRank(rank, size, local_rank, folder, os.environ.get(MEETING, ""))


def rank_variables(rank: ProcessRank, micro_scale: float) -> dict[str, str]:
    """Return the environment variables of a rank, named as by torchrun."""
    variables: dict[str, object] = {
        "RANK": rank.rank,
        "LOCAL_RANK": rank.local_rank,
        "WORLD_SIZE": rank.size,
        RANKS: rank.folder,
    }
    if rank.address:
        variables[MEETING] = rank.address
    if micro_scale < 1:
        variables[MICRO_SCALE] = micro_scale
    return {name: str(value) for name, value in variables.items()}


def micro_scale_variable() -> float | None:
    """Return the share of the micro-batch to compute with; None where the variable is not set."""
    value = os.environ.get(MICRO_SCALE)
    return None if value is None else float(value)

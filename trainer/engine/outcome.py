"""How a run ends: the exit codes of the trainer, and the exceptions that carry a sentence and a
remedy to the `end` event.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.engine.distributed.ranks import ProcessRank
from trainer.exit_codes import DISK_FULL, FAILED, NOT_A_NUMBER, PEER_LOST, PROCESS_DIED, REFUSED


@dataclass(frozen=True)
class RunExit:
    """How a run ended: exit code, `outcome` (completed, stopped, failed), and sentences.

    `again` asks for another try with smaller micro-batches; `lost` says that this rank ended only
    because another one did not answer.
    """

    code: int
    outcome: str
    reason: str
    remedy: str = ""
    again: bool = False
    lost: bool = False

    def fields(self) -> dict[str, str]:
        """Of the `end` event."""
        return {"outcome": self.outcome, "reason": self.reason, "remedy": self.remedy}

    def __str__(self) -> str:
        return " ".join(filter(None, [self.reason, self.remedy]))


class Failure(Exception):
    """The run cannot go on. `reason` says what happened and where, `remedy` what to do."""

    code = FAILED

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class RunRefused(Failure):
    """The definition, the data or a model cannot be used as they are."""

    code = REFUSED


class NotANumber(Failure):
    """The loss or its gradient is not finite."""

    code = NOT_A_NUMBER


class OutOfMemory(Failure):
    """Memory ran out. `again`: all processes of the run can begin again from the checkpoint with
    smaller micro-batches.
    """

    def __init__(self, cause: str, again: bool) -> None:
        super().__init__(
            f"The run needs more memory than there is: {cause}.",
            "Lower compute.micro_batch_tokens, compute.generation_rows or the longest answer, and resume.",
        )
        self.again = again


class DiskFull(Failure):
    """Events or checkpoints can no longer be written."""

    code = DISK_FULL


class RendezvousFailed(Failure):
    """The machines of the run did not come together."""

    def __init__(self, cause: str, place: ProcessRank) -> None:
        super().__init__(
            f"The machines of the run could not meet at {place.port}: {cause}.",
            "Resume the run at another port.",
        )
        self.code = PROCESS_DIED if place.is_leader else PEER_LOST


class Stopped(Exception):
    """Somebody asked the run to stop. Raised only where nothing half-done is lost."""


class NothingToTrain(Exception):
    """A method has no training left to do, though steps remain. The run completes with `reason` and
    `remedy`.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy

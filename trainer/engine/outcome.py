"""How a run ends: a record of exit code and sentences, and the exceptions that lead to it."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.engine.distributed.ranks import ProcessRank
from trainer.exit_codes import ExitCode


@dataclass(frozen=True)
class RunExit:
    """How a run ended: exit code, `outcome` (completed, stopped, failed), reason and remedy.

    `retry` asks for another try with smaller micro-batches. `peer_lost` is true for a rank that
    ended only because another one did not answer.
    """

    code: int
    outcome: str
    reason: str
    remedy: str = ""
    retry: bool = False
    peer_lost: bool = False

    def fields(self) -> dict[str, str]:
        """Return the fields of the `end` event."""
        return {"outcome": self.outcome, "reason": self.reason, "remedy": self.remedy}

    def __str__(self) -> str:
        return " ".join(filter(None, [self.reason, self.remedy]))


class Failure(Exception):
    """The run cannot continue. `reason` says what happened and where, `remedy` what to do."""

    code = ExitCode.FAILED

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class RunRefused(Failure):
    """The definition, the data or a model cannot be used as they are."""

    code = ExitCode.REFUSED


class NotANumber(Failure):
    """The loss or its gradient is not finite."""

    code = ExitCode.NOT_A_NUMBER


class OutOfMemory(Failure):
    """Memory ran out.

    With `retry`, all processes of the run can restart from the checkpoint with smaller
    micro-batches.
    """

    def __init__(self, cause: str, retry: bool) -> None:
        super().__init__(
            f"The run needs more memory than there is: {cause}.",
            "Lower compute.micro_batch_tokens, compute.generation_rows or the longest answer, and "
            "resume.",
        )
        self.retry = retry


class DiskFull(Failure):
    """Events or checkpoints can no longer be written."""

    code = ExitCode.DISK_FULL


class RendezvousFailed(Failure):
    """The ranks of the machines could not connect to each other."""

    def __init__(self, cause: str, rank: ProcessRank) -> None:
        super().__init__(
            f"The machines of the run could not meet at {rank.address}: {cause}.",
            "Resume the run at another port.",
        )
        self.code = ExitCode.PROCESS_DIED if rank.is_leader else ExitCode.PEER_LOST


class Stopped(Exception):
    """The run was asked to stop. Raised only where no unsaved work is lost."""


class NothingToTrain(Exception):
    """A method has no training left although steps remain.

    The run completes with `reason` and `remedy`.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def sentence_of(error: Exception) -> str:
    """Return the message of an error as one sentence."""
    text = str(error).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."

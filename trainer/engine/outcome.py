"""How a run ends: the exit codes of the trainer, and the exceptions that carry a sentence and a remedy to the `end` event."""

from __future__ import annotations

COMPLETED = 0
REFUSED = 64  # the definition, the data or a model cannot be used
NOT_A_NUMBER = 65
FAILED = 70
DISK_FULL = 74
STOPPED = 75


class Failure(Exception):
    """The run cannot go on. `reason` says what happened and where, `remedy` what to do."""

    code = FAILED

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class Refused(Failure):
    """The definition, the data or a model cannot be used as they are."""

    code = REFUSED


class NotANumber(Failure):
    """The loss or its gradient is not finite."""

    code = NOT_A_NUMBER


class DiskFull(Failure):
    """Events or checkpoints can no longer be written."""

    code = DISK_FULL


class Stopped(Exception):
    """Somebody asked the run to stop. Raised only where nothing half-done is lost."""


class NothingToTrain(Exception):
    """A method has no training left to do, though steps remain. The run completes with `reason` and `remedy`."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy

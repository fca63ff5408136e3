"""The exit codes of the trainer, by which the process that started it decides what to do next.

The numbers follow sysexits.h where it has a fitting one; 65 and 71 are used in a wider sense.
docs/engine.md lists them with what to do.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """An exit code with the sentence that pages show for it."""

    sentence: str

    def __new__(cls, code: int, sentence: str) -> ExitCode:
        self = int.__new__(cls, code)
        self._value_, self.sentence = code, sentence
        return self

    COMPLETED = 0, "It finished what it was asked to do."
    REFUSED = 64, "The definition, the data or a model could not be used."
    # The loss or its gradient is not finite.
    NOT_A_NUMBER = 65, "The loss was no longer a number."
    PEER_LOST = 69, "The other machines of the run did not answer any more."
    FAILED = 70, "An error ended it."
    # Only of a run on several machines, which may resume from a checkpoint.
    PROCESS_DIED = 71, "One of its processes died without an error message."
    DISK_FULL = 74, "The disk was full."
    STOPPED = 75, "It stopped on request, after writing a checkpoint."

"""The verdict of a verifier on an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LONGEST_ANSWER = 200  # characters of an answer as it is shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """`correct` is None for "could not tell". `answer` is the answer as read, or empty.

    `mark` is the mark that a reference was read after, such as `####`, if it has one.
    """

    correct: bool | None
    answer: str
    mark: str = ""


class Judge(Protocol):
    """One way to read and compare answers. Runs inside the child process.

    A judge may also have `reference_mark(text) -> str`, which says after which mark a reference is
    read.
    """

    def read_reference(self, text: str) -> str:
        """The reference as it is compared; empty if it cannot be read."""

    def judge(self, completion: str, reference: str) -> Verdict:
        """The verdict on a completion; None if the reference cannot be read."""


class VerifierError(RuntimeError):
    """A verifier that cannot work at all. The message is a sentence."""


def clean(answer: str) -> str:
    """The answer as it can be stored and shown: short, one line, no broken characters."""
    return (
        " ".join(answer.split())[:LONGEST_ANSWER]
        .encode("utf-8", "replace")
        .decode()
        .replace("\0", "")
    )

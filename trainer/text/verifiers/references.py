"""Whether a verifier can read the references of problems, counted before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from trainer.text.verifiers.verifier import BATCH, Verifier

EXAMPLES = 5
LONGEST_EXAMPLE = 60
# Different references that are remembered, because many problems share one.
REMEMBERED = 100_000
# Share of unreadable references from which a run makes no sense.
MOST_UNREADABLE = 0.5


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """`read` references were read, `unreadable` of them in vain; `examples` are of these.

    `is_complete` is False if the time was over before the last one.
    """

    read: int
    unreadable: int
    examples: tuple[str, ...]
    is_complete: bool = True

    @property
    def is_hopeless(self) -> bool:
        """Whether most problems cannot be judged."""
        return self.unreadable > MOST_UNREADABLE * self.read

    def sentence(self, kind: str, problems: str) -> str:
        """Say how many references the verifier cannot read; "" if it can read all.

        >>> ReferenceCheck(3, 1, ("blue",)).sentence("numeric", "held-out")
        'The verifier numeric cannot read 1 of 3 held-out reference answers, such as “blue”.'
        """
        if not self.unreadable:
            return ""
        some = "" if self.is_complete else "the first "
        examples = ", ".join(f"“{example}”" for example in self.examples)
        return (
            f"The verifier {kind} cannot read {self.unreadable:,} of {some}{self.read:,} "
            f"{f'{problems} ' if problems else ''}reference answers, such as {examples}."
        )


def check_references(
    verifier: Verifier, references: Iterable[str], seconds: float = float("inf")
) -> ReferenceCheck:
    """Read every reference, or as many as `seconds` allow. Raises VerifierError."""
    deadline = time.monotonic() + seconds
    is_readable: dict[str, bool] = {}
    read = unreadable = 0
    examples: dict[str, None] = {}
    for batch in _batches(references):
        if read and time.monotonic() > deadline:
            return ReferenceCheck(read, unreadable, tuple(examples), is_complete=False)
        new = list({text: None for text in batch if text not in is_readable})
        readings = dict(zip(new, map(bool, verifier.read_references(new)), strict=True))
        for text in batch:
            is_good = readings[text] if text in readings else is_readable[text]
            read, unreadable = read + 1, unreadable + (not is_good)
            if not is_good and len(examples) < EXAMPLES:
                examples[_excerpt(text)] = None
        if len(is_readable) < REMEMBERED:
            is_readable |= readings
    return ReferenceCheck(read, unreadable, tuple(examples))


def _batches(references: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(references)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return f"{line[:LONGEST_EXAMPLE]}…" if len(line) > LONGEST_EXAMPLE else line

"""Verdicts on answers, from a child process that is restarted when it hangs or dies.

An item that exceeds the time limit or kills the child gets the verdict None ("could not tell"); the
others are not affected. Items are sent in batches, so that a hundred thousand simple verdicts take
seconds.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from trainer.spec import Verifier as Definition
from trainer.text.verifiers.child_process import START_SECONDS, ChildLost, VerifierChild
from trainer.text.verifiers.records import Verdict, VerifierError

BATCH = 512
# Characters of a completion that are read: the last ones, because the answer is at the end.
LONGEST = 100_000

Item = str | tuple[str, str]


class Verifier:
    """Judges answers by `definition`. Use it in a `with` block, from one thread at a time.

    The child starts with the first item. Raises VerifierError if it cannot, and once
    `total_seconds` are over.
    """

    def __init__(
        self, definition: Definition, seconds: float = 5.0, total_seconds: float = math.inf
    ) -> None:
        self.definition = definition.model_dump_json()
        self.seconds = seconds
        self.deadline = time.monotonic() + total_seconds
        self.child: VerifierChild | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def judge(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (completion, reference), in order."""
        return self._ask([(completion[-LONGEST:], reference) for completion, reference in pairs])

    def read_reference(self, text: str) -> str:
        """The reference as it is compared; empty if unreadable, then every verdict is None."""
        return self.read_references([text])[0]

    def read_references(self, texts: Iterable[str]) -> list[str]:
        return [reading.answer for reading in self.reference_readings(texts)]

    def reference_readings(self, texts: Iterable[str]) -> list[Verdict]:
        """References as they are compared, with the mark before each; no verdicts."""
        return self._ask([text[-LONGEST:] for text in texts])

    def _ask(self, items: Sequence[Item]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        while len(verdicts) < len(items):
            batch = items[len(verdicts) : len(verdicts) + BATCH]
            verdicts += self._batch(batch)
        return verdicts

    def _batch(self, items: Sequence[Item]) -> list[Verdict]:
        """Verdicts on the first items, at least one; stops at an item that kills the child."""
        child = self.child = self.child or VerifierChild(
            self.definition, self.seconds, self._at_most(START_SECONDS)
        )
        verdicts: list[Verdict] = []
        try:
            child.write(json.dumps(items).encode() + b"\n", self._at_most(self.seconds))
            for _ in items:
                verdicts.append(Verdict(*json.loads(child.read(self._at_most(self.seconds)))))
        except ChildLost:
            self.close()
            # Before an item is called unjudged: the time that was left may have been too short.
            self._at_most(self.seconds)
            verdicts.append(Verdict(None, ""))
        return verdicts

    def _at_most(self, seconds: float) -> float:
        """Return `seconds`, or those that are left. Raises VerifierError if none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise VerifierError("the verifier did not answer in time; try again in a moment")
        return min(seconds, left)

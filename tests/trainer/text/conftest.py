"""One process judges the answers of all tests of a module.

Its start takes half a second of processor time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from trainer.text.verifiers import verifier
from trainer.text.verifiers.child_process import ChildLost, VerifierChild

Key = tuple[str, float, str]


class KeptChild(VerifierChild):
    """A child that the next verifier with the same definition takes over, if it owes no verdict."""

    kept: dict[Key, KeptChild] = {}

    def __init__(self, definition: str, seconds: float, start_seconds: float) -> None:
        self.key = key_of(definition, seconds)
        self.owed, self.lost = 1, False  # it says first that it is ready
        super().__init__(definition, seconds, start_seconds)

    def write(self, line: bytes, seconds: float) -> None:
        self.owed += len(json.loads(line))
        super().write(line, seconds)

    def read(self, seconds: float) -> bytes:
        try:
            line = super().read(seconds)
        except ChildLost:
            self.lost = True
            raise
        self.owed -= 1
        return line

    def kill(self) -> None:
        if self.lost or self.owed or self.key in self.kept or self.process.poll() is not None:
            super().kill()
        else:
            self.kept[self.key] = self


def key_of(definition: str, seconds: float) -> Key:
    # A verifier of one's own is found by this path.
    return definition, seconds, os.environ.get("PYTHONPATH", "")


def kept_or_new(definition: str, seconds: float, start_seconds: float) -> KeptChild:
    child = KeptChild.kept.pop(key_of(definition, seconds), None)
    return child or KeptChild(definition, seconds, start_seconds)


@pytest.fixture(scope="module", autouse=True)
def kept_children() -> Iterator[None]:
    """Runs and preflights take over the judging process of an earlier test of the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "VerifierChild", kept_or_new)
        yield
    while KeptChild.kept:
        _, child = KeptChild.kept.popitem()
        VerifierChild.kill(child)

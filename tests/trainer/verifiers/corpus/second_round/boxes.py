"""Groups of answers in boxes."""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group


def boxed(trap: str, reference: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> Group:
    """A group whose answers are written in a box."""
    return Group(
        trap,
        reference,
        tuple(f"\\boxed{{{answer}}}" for answer in right),
        tuple(f"\\boxed{{{answer}}}" for answer in wrong),
    )

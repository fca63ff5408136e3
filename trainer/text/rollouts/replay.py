"""The replay stage: groups stored for a later round. So far none are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.text.rollouts.records import Group


@dataclass(frozen=True)
class EmptyReplay:
    def take(self) -> list[Group]:
        return []

    def put(self, groups: Sequence[Group]) -> None:
        if groups:
            raise ValueError(
                f"The controller stores {len(groups)} groups for a later round, but replay keeps "
                "none; choose another replay."
            )

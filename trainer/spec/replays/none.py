from __future__ import annotations

from typing import Literal

from trainer.spec.replays.replay import ReplaySettings


class NoReplay(ReplaySettings):
    """No rollout is kept for a later round."""

    kind: Literal["none"] = "none"
    function = "trainer.text.rollouts.replays.none:EmptyReplay"

    def describe(self) -> str:
        return "no rollout is kept"

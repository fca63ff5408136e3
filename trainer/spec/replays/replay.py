"""What every replay declares."""

from __future__ import annotations

from trainer.spec.mechanisms import Mechanism


class ReplaySettings(Mechanism):
    """Which rollouts are kept for a later round.

    `function` makes a `Replay` (`trainer.text.rollouts.protocols`) from these settings.
    """

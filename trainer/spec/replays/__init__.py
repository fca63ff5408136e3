"""Which rollouts are kept for a later round. One file declares one replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.mechanisms import choices
from trainer.spec.replays.replay import ReplaySettings

if TYPE_CHECKING:
    AnyReplay = ReplaySettings
else:
    AnyReplay = choices(__name__, ReplaySettings)

"""How many answers each problem gets. One file declares one controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.controllers.controller import ControllerSettings
from trainer.spec.mechanisms import choices

if TYPE_CHECKING:
    AnyController = ControllerSettings
else:
    AnyController = choices(__name__, ControllerSettings)

from __future__ import annotations

from typing import Literal

from trainer.spec.controllers.controller import ControllerSettings


class FixedControl(ControllerSettings):
    """The same number of answers for each problem; the step waits for all of them."""

    kind: Literal["fixed"] = "fixed"
    function = "trainer.text.rollouts.controllers.fixed:FixedController"

    def describe(self) -> str:
        return "the same number of answers for each problem"

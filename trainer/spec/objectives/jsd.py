from __future__ import annotations

from typing import Literal

from trainer.spec.base import OPSD, option
from trainer.spec.objectives.divergence import Divergence


class JSD(Divergence):
    """Generalised Jensen–Shannon divergence β KL(p_T ‖ m) + (1 − β) KL(p_S ‖ m).

    The mixture is m = β p_T + (1 − β) p_S.
    """

    kind: Literal["jsd"] = "jsd"
    function = "trainer.text.objectives.jsd:entries"
    gradient = "trainer.text.objectives.jsd:entries_and_slopes"
    # JSD_β tends to 0 for β → 0, and only JSD_β / β tends to forward KL. The endpoints are
    # therefore defined as the two KLs, as in GKD, OPSD and TRL.
    beta: float = option(
        0.5,
        title="β",
        help="Share of the teacher in the mixture. 0 is forward KL and 1 reverse KL, because the "
        "limits would be 0.",
        ge=0,
        le=1,
        paper=OPSD,
    )

    def describe(self) -> str:
        return "Jensen–Shannon divergence to the teacher"

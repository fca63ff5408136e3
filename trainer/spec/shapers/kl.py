from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.objective import Need, Write
from trainer.spec.shapers.shaper import Shaper


class KLShaper(Shaper):
    """The advantage of each token is lowered by β (log p_S − log p) of the sampled token.

    Its expected gradient is that of the reverse KL to the reference or to the teacher.
    """

    kind: Literal["kl"] = "kl"
    title = "KL in the advantage"
    function = "trainer.text.shapers.kl:shape"
    writes = {Write.ADVANTAGES: "adds"}
    needs = frozenset({Need.OLD_LOGPROB})
    to: Literal["reference", "teacher"] = option(
        "reference",
        title="KL to",
        help="Whose distribution the student is kept near.",
        choice_help={
            "reference": "The student as it was when the stage began.",
            "teacher": "The teacher.",
        },
    )
    # The best of 0, 0.001, 0.01 and 0.1 depends on the task; GRPO's own is 0.04 (2402.03300).
    coefficient: float = option(
        0.04,
        title="β",
        help="Weight of the KL divergence beside the advantages of the verdicts.",
        gt=0,
        le=100,
        paper="GRPO, arXiv 2402.03300",
    )

    @property
    def requirements(self) -> frozenset[Need]:
        by = Need.TEACHER_LOGPROB if self.to == "teacher" else Need.REFERENCE_LOGPROB
        return self.needs | {by}

    def describe(self) -> str:
        return f"advantages lowered by {self.coefficient:g} KL to the {self.to}"

"""KL(p_S ‖ p) of the sampled tokens in their advantages: A_t ← A_t − β (log p_S(y_t) − log p(y_t)).

The estimator k1, detached. With A = −log(p_S / p), E[A ∇log p_S] over tokens drawn from p_S is the
negative gradient of the reverse KL. Both log-probs are those at the beginning of the round, at the
temperature of sampling. Compare as a loss: k2 (`trainer.text.objectives.kl_estimators`).
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.spec import Stage
from trainer.spec.objectives.objective import Need, Write
from trainer.spec.shapers.kl import KLShaper
from trainer.text.rollouts.records import TrainRow
from trainer.text.shapers.shaping import Changes, logprobs


def shape(shaper: KLShaper, rows: Sequence[TrainRow], _: Stage) -> Changes:
    other = Need.TEACHER_LOGPROB if shaper.to == "teacher" else Need.REFERENCE_LOGPROB
    return {
        Write.ADVANTAGES: [
            shaper.coefficient * (logprobs(row, other) - logprobs(row, Need.OLD_LOGPROB))
            for row in rows
        ]
    }

"""Whether the server writes with the weights that it was sent, told by what it does and not by what
it says.

A server may report success and go on with old weights: all of them, or one matrix. So after every
update it is asked for the log-probs of a fixed text, which are compared with the trainer's own for
the new weights and for those of before:

    |server − new| ≤ r + min(tolerance, 9 r + 1e-4)         r: the same at the start, which is
    rounding |server − new| < |server − old|                         once new and old differ by more
    than rounding

on average over the text. Computed in float32, the first bound notices a single matrix that stayed
behind; in bfloat16, where r is larger, the second still notices an update that changed nothing.
Updates that differ by less than rounding add up: `old` stays until the difference can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from trainer.engine.outcome import Failure

TEXT_LENGTH = 64
MOST_ROUNDING = 0.5  # nats: at the start, no rounding explains more
SLACK, LEAST_SLACK = (
    9.0,
    1e-4,
)  # rounding may grow with the weights: by how many times itself, and by how many nats at least
DISTINGUISHABLE = 4.0  # how many times as much as rounding old and new must differ to be told apart


def check_text(vocabulary: int, longest: int) -> tuple[int, ...]:
    """The same ids for every run with that vocabulary, drawn evenly from it."""
    return tuple(
        np.random.default_rng(0).integers(0, vocabulary, min(TEXT_LENGTH, longest - 1)).tolist()
    )


@dataclass
class WeightCheck:
    """`rounding` is the mean difference at the start, `old` what the trainer said with the last
    weights that could be told apart.
    """

    tolerance: float
    rounding: float = field(default=np.nan)
    old: Tensor | None = None

    def begin(self, trainer_logprobs: Tensor, server_logprobs: Tensor) -> None:
        """The first weights. Raises Failure if the server has others."""
        self.rounding, self.old = (
            _mean_difference(trainer_logprobs, server_logprobs),
            trainer_logprobs,
        )
        if not self.rounding <= MOST_ROUNDING:
            raise Failure(
                f"vLLM's log-probs of a fixed text differ from the trainer's by {self.rounding:.3g} nats on average, before any update.",
                "It computes another network than the trainer: choose a model that vLLM supports, or compute.sampler.kind in_process.",
            )

    def check_update(self, version: int, trainer_logprobs: Tensor, server_logprobs: Tensor) -> None:
        """Weights `version` were sent. Raises Failure if the server does not write with them."""
        assert self.old is not None
        error, stale_error, update_size = (
            _mean_difference(trainer_logprobs, server_logprobs),
            _mean_difference(self.old, server_logprobs),
            _mean_difference(trainer_logprobs, self.old),
        )
        distinguishable = update_size > DISTINGUISHABLE * self.rounding
        bound = self.rounding + min(self.tolerance, SLACK * self.rounding + LEAST_SLACK)
        if not error <= bound or (distinguishable and stale_error <= error):
            raise Failure(
                f"vLLM does not write with the weights of update {version}: its log-probs of a fixed text differ from the trainer's by "
                f"{error:.3g} nats on average ({self.rounding:.3g} at the start), and by {stale_error:.3g} from those of earlier weights.",
                "Nothing was sampled with them. Resume the run to start the server anew, or choose compute.sampler.kind in_process.",
            )
        self.old = trainer_logprobs if distinguishable else self.old


def _mean_difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().mean())

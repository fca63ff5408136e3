"""Check by measurement that the server samples with the weights that it was sent.

A server may report success and keep old weights: all of them, or one matrix. So after every update
it is asked for the log-probs of a fixed text, which are compared with the trainer's for the new and
the previous weights, averaged over the text:

    |server − new| ≤ r + min(tolerance, 9 r + 1e-4)
    |server − new| < |server − old|        once new and old differ by more than rounding

r is the difference at the start, which is rounding. Computed in float32, the first bound detects a
single stale matrix; in bfloat16, where r is larger, the second still detects an update that changed
nothing. Updates smaller than rounding add up: `old` stays until the difference is measurable.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from trainer.engine.outcome import Failure

# Tokens of the fixed text, over which differences are averaged.
TEXT_LENGTH = 64
# Nats: at the start, no rounding explains more.
MOST_ROUNDING = 0.5
# Rounding may grow with the weights: by how many times itself, and by how many nats at least.
SLACK, LEAST_SLACK = 9.0, 1e-4
# Old and new weights must differ by this many times the rounding error to be distinguished.
DISTINGUISHABLE = 4.0


def check_text(vocabulary: int, longest: int) -> tuple[int, ...]:
    """Token ids drawn uniformly from the vocabulary, the same for every run."""
    return tuple(
        np.random.default_rng(0).integers(0, vocabulary, min(TEXT_LENGTH, longest - 1)).tolist()
    )


@dataclass
class WeightCheck:
    """`rounding` is the mean difference at the start.

    `old` are the trainer's log-probs with the last weights that could be distinguished.
    """

    tolerance: float
    rounding: float = field(default=np.nan)
    old: Tensor | None = None

    def begin(self, trainer_logprobs: Tensor, server_logprobs: Tensor) -> None:
        """Check the first weights. Raises Failure if the server computes another network."""
        self.rounding, self.old = (
            _mean_difference(trainer_logprobs, server_logprobs),
            trainer_logprobs,
        )
        # `not … <=` instead of `>`: NaN must be refused too.
        if not self.rounding <= MOST_ROUNDING:
            raise Failure(
                "vLLM's log-probs of a fixed text differ from the trainer's by "
                f"{self.rounding:.3g} nats on average, before any update.",
                "It computes another network than the trainer: choose a model that vLLM supports, "
                "or compute.sampler.kind in_process.",
            )

    def check_update(self, version: int, trainer_logprobs: Tensor, server_logprobs: Tensor) -> None:
        """Check weights `version`. Raises Failure if the server does not sample with them."""
        assert self.old is not None
        error, stale_error, update_size = (
            _mean_difference(trainer_logprobs, server_logprobs),
            _mean_difference(self.old, server_logprobs),
            _mean_difference(trainer_logprobs, self.old),
        )
        distinguishable = update_size > DISTINGUISHABLE * self.rounding
        bound = self.rounding + min(self.tolerance, SLACK * self.rounding + LEAST_SLACK)
        # Nearer to the old weights than to the new ones is an update that changed nothing, even if
        # both are within the bound.
        if not error <= bound or (distinguishable and stale_error <= error):
            raise Failure(
                f"vLLM does not write with the weights of update {version}: its log-probs of a "
                "fixed text differ from the trainer's by "
                f"{error:.3g} nats on average ({self.rounding:.3g} at the start), and by "
                f"{stale_error:.3g} from those of earlier weights.",
                "Nothing was sampled with them. Resume the run to restart the server, or "
                "choose compute.sampler.kind in_process.",
            )
        self.old = trainer_logprobs if distinguishable else self.old


def _mean_difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().mean())

"""What every verifier declares."""

from __future__ import annotations

from trainer.spec.mechanisms import Mechanism


class Verifier(Mechanism):
    """Decides whether an answer is right.

    `function` makes a `Judge` (`trainer.text.verifiers.records`) from these settings, in the
    verifier's own process, so it must import without torch.
    """

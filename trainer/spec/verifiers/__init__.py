"""How it is decided whether an answer is right. One file declares one verifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.mechanisms import choices
from trainer.spec.verifiers.verifier import Verifier

if TYPE_CHECKING:
    AnyVerifier = Verifier
else:
    AnyVerifier = choices(__name__, Verifier)

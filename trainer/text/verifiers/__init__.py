"""How answers are judged: exact text, numbers, multiple choice or mathematics, in a child process.

Imports without torch.
"""

from trainer.text.verifiers.records import Verdict, VerifierError
from trainer.text.verifiers.verifier import Verifier

__all__ = ["Verdict", "Verifier", "VerifierError"]

"""How answers are judged: exact text, numbers, multiple choice or mathematics, in a child process.

Imports without torch.
"""

from trainer.text.verifiers.records import Verdict, VerifierError
from trainer.text.verifiers.references import ReferenceCheck, check_references
from trainer.text.verifiers.verifier import Verifier

__all__ = ["ReferenceCheck", "Verdict", "Verifier", "VerifierError", "check_references"]

"""From the declaration of a mechanism to its code. Imports without torch."""

from __future__ import annotations

import pkgutil
from typing import Any

from trainer.spec import Mechanism
from trainer.spec.token_scores.token_score import TokenScore


def function_of(declaration: Mechanism | TokenScore) -> Any:
    """Return the function or class that a declaration names, and import its module."""
    return code_named(declaration.function)


def code_named(name: str) -> Any:
    """Return what `package.module:name` names. Raises ImportError or AttributeError."""
    return pkgutil.resolve_name(name)

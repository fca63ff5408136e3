"""From the declaration of a mechanism to its code. Imports without torch."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from typing import Any

from trainer.spec import TOKEN_SCORES, Mechanism, RunSpec, SelectedTokens
from trainer.spec.token_scores.token_score import TokenScore


class CodeError(Exception):
    """The code of a mechanism is missing or returns something else than it must."""


def function_of(declaration: Mechanism | TokenScore) -> Any:
    """Return the function or class that a declaration names, and import its module."""
    return code_named(declaration.function)


def code_named(name: str) -> Any:
    """Return what `package.module:name` names. Raises CodeError if there is no such thing."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CodeError(
            f"{name}, which a declaration names, cannot be imported: {error}"
        ) from error


def require_code(spec: RunSpec) -> None:
    """Raise CodeError if the code of a mechanism that the run uses cannot be imported."""
    for declaration in _mechanisms(spec):
        function_of(declaration)


def _mechanisms(spec: RunSpec) -> Iterator[Mechanism | TokenScore]:
    yield spec.data.verifier
    for stage in spec.stages:
        rollouts = stage.rollouts
        yield stage.objective
        yield from stage.shapers.chosen
        yield from (rollouts.generate, rollouts.filter, rollouts.control, rollouts.replay)
        if isinstance(stage.tokens, SelectedTokens):
            yield TOKEN_SCORES[stage.tokens.score]

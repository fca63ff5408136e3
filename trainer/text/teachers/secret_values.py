"""The values of secrets, which the environment of the trainer holds; definitions, logs and messages
have their names alone.
"""

from __future__ import annotations

import os
import re

from trainer.engine.outcome import RunRefused


def variable_of(uri: str) -> str:
    """The environment variable of `secret:<name>`: STILLROOM_SECRET_ and the name in capitals, with
    _ for what is no letter or digit.
    """
    return "STILLROOM_SECRET_" + re.sub(r"[^A-Z0-9]", "_", uri.removeprefix("secret:").upper())


def value_of(uri: str, field: str) -> str:
    """The secret that `field` of the definition names. Raises RunRefused where there is none that a
    request could carry.
    """
    value = os.environ.get(variable_of(uri), "").strip()
    if not value:
        raise RunRefused(
            f"{field} is {uri}, but this worker has no such secret.",
            f"Set the environment variable {variable_of(uri)} there.",
        )
    if not (value.isascii() and value.isprintable()):
        raise RunRefused(
            f"The secret {uri} of {field} has characters that no key has.",
            f"Correct {variable_of(uri)} on the worker.",
        )
    return value

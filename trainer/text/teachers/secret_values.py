"""Values of secrets, from the trainer's environment.

Definitions, logs and messages contain only their names.
"""

from __future__ import annotations

import os
import re

from trainer.engine.outcome import RunRefused


def variable_of(uri: str) -> str:
    """The environment variable of `secret:<name>`: STILLROOM_SECRET_ and the name in capitals.

    Characters other than letters and digits become _.
    """
    return "STILLROOM_SECRET_" + re.sub(r"[^A-Z0-9]", "_", uri.removeprefix("secret:").upper())


def value_of(uri: str, field: str) -> str:
    """The value of the secret that `field` of the definition names.

    Raises RunRefused if it is missing or cannot be sent in a request header.
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

"""NaN and the infinities in JSON, which has no such numbers.

They are written as the strings "NaN", "Infinity" and "-Infinity" in event logs, in the series and
live interfaces, and by the clients of Trackio and MLflow. Pydantic writes the same names in its
mode `PYDANTIC_MODE`. Logs of other programs may spell them as Python does ("inf", "+Infinity"),
which only `is_name` accepts. Rollout files are Parquet and have null instead.
"""

from __future__ import annotations

import math
from typing import Final, Literal

NUMBER_BY_NAME: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
PYDANTIC_MODE: Final[Literal["strings"]] = "strings"


def encode(value: float) -> float | str:
    """Return a finite number as it is, and the name of another one."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def decode(name: str) -> float | None:
    """Return the number that `encode` gave this name; None for any other text."""
    return NUMBER_BY_NAME.get(name)


def is_name(text: str) -> bool:
    """Return whether `text` is a name of NaN or an infinity in any spelling that Python reads."""
    return text.lower().lstrip("+-") in ("nan", "inf", "infinity")

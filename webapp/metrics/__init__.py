"""The series of runs. Nothing outside this package touches the tables behind it, so that storage can change in one place.

Django imports this package before models may be loaded, so its functions are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.metrics.reading import etag, glimpse, keys, latest, pace, rows
    from webapp.metrics.series import Axis, Series, places, plain, read
    from webapp.metrics.writing import append

__all__ = ["Axis", "Series", "append", "etag", "glimpse", "keys", "latest", "pace", "places", "plain", "read", "rows"]

HOMES = {**dict.fromkeys(("Axis", "Series", "places", "plain", "read"), "series"), "append": "writing"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES.get(name, 'reading')}"), name)

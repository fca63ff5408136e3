"""The series of runs. Nothing outside this package touches the tables behind it, so that storage can change in one place.

Django imports this package before models may be loaded, so its functions are looked up when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.metrics.reading import etag, keys, latest, pace, rows
    from webapp.metrics.series import Axis, Series, plain, read
    from webapp.metrics.writing import append

__all__ = ["Axis", "Series", "append", "etag", "keys", "latest", "pace", "plain", "read", "rows"]


def __getattr__(name: str) -> Any:
    from webapp.metrics import reading, series, writing

    for module in (series, reading, writing):
        if name in __all__ and hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

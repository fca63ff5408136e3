"""The series of runs. Nothing outside this package touches the tables behind it, so that storage
can change in one place.

Django imports this package before models may be loaded, so its functions are looked up when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.metrics.compaction import compact, thin, tidy_finished
    from webapp.metrics.exporting import parquet, rows
    from webapp.metrics.points import Axis
    from webapp.metrics.reading import etag, glimpse, keys, latest, pace, places, sequences
    from webapp.metrics.series import Series, plain, read, since
    from webapp.metrics.writing import Addition, Identity, append, append_all

__all__ = [
    "Addition",
    "Axis",
    "Identity",
    "Series",
    "append",
    "append_all",
    "compact",
    "etag",
    "glimpse",
    "keys",
    "latest",
    "pace",
    "parquet",
    "places",
    "plain",
    "read",
    "rows",
    "sequences",
    "since",
    "thin",
    "tidy_finished",
]

HOMES = {
    **dict.fromkeys(("compact", "thin", "tidy_finished"), "compaction"),
    **dict.fromkeys(("parquet", "rows"), "exporting"),
    **dict.fromkeys(("Series", "plain", "read", "since"), "series"),
    "Axis": "points",
    **dict.fromkeys(("Addition", "Identity", "append", "append_all"), "writing"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES.get(name, 'reading')}"), name)

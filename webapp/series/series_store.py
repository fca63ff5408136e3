"""The public functions of the series store: append, read, export, compact.

Nothing outside `webapp.series` touches the tables behind them, so that the storage can change in
one place.
"""

from __future__ import annotations

from webapp.series.charts import Series, plain, read, since
from webapp.series.compaction import compact, thin, tidy_finished
from webapp.series.exporting import parquet, rows
from webapp.series.points import Axis
from webapp.series.reading import etag, glimpse, keys, latest, pace, places, sequences
from webapp.series.writing import Addition, Identity, append, append_all

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

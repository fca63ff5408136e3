"""The public functions of the series store: append, read, export, compact.

Nothing outside `webapp.series` touches the tables behind them, so that the storage can change in
one place.
"""

from __future__ import annotations

from webapp.series.append import AppendRequest, Identity, append, append_all
from webapp.series.best import BestPoint, best_points
from webapp.series.charts import ChartSeries, json_number, read, read_since
from webapp.series.compaction import compact, compact_finished, thin
from webapp.series.export import export_parquet, export_rows
from webapp.series.folding import fold_long_tail, fold_tail
from webapp.series.queries import (
    LastPoint,
    axis_positions,
    etag,
    keys,
    last_points,
    latest,
    point_counts,
    seconds_per_step,
    sequence_numbers,
    sparkline,
)
from webapp.series.storage.points import Axis

__all__ = [
    "AppendRequest",
    "Axis",
    "BestPoint",
    "ChartSeries",
    "Identity",
    "LastPoint",
    "append",
    "append_all",
    "axis_positions",
    "best_points",
    "compact",
    "compact_finished",
    "etag",
    "export_parquet",
    "export_rows",
    "fold_long_tail",
    "fold_tail",
    "json_number",
    "keys",
    "last_points",
    "latest",
    "point_counts",
    "read",
    "read_since",
    "seconds_per_step",
    "sequence_numbers",
    "sparkline",
    "thin",
]

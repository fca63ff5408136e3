"""What a person has chosen to compare, as it is in the query of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from django.utils.http import urlencode

from webapp.series.series_store import Axis

MOST_RUNS = 100
MOST_CHARTS = 8
MOST_COORDINATES = 12
# Bounds of one value, and of the characters of all of them.
LONGEST_VALUE = 4000
By = Literal["groups", "runs"]
# Lines of the charts: means of the groups with their bands, those of single runs, or both.
Lines = Literal["means", "runs", "both"]
# Weights of smoothing, as in the address.
Smoothing = Literal["0", "0.6", "0.9"]


@dataclass(frozen=True)
class Choices:
    """The choices beside the runs themselves; empty text: none was made.

    `baseline` is the id of a run of the pinned group. `merge` has pairs of ids of runs whose groups
    are joined. `against` is the setting of the scatter plot. `asked_interest` is δ as it was typed.
    `smoothing` is that of the charts, `zoom` the part of their x axis that is shown, as `100:200`,
    and `hidden` are the ids of lines that are not drawn: of a run, or of a group as `id/mean`.
    `coordinates` are the axes of the parallel coordinates, such as `setting:seed`, and `ranges`
    what was marked on them, such as `0.1:0.5:setting:seed`; an end without a number is open.
    """

    baseline: str = ""
    metric: str = ""
    asked_interest: str = ""
    by: By = "groups"
    split: tuple[str, ...] = ()
    merge: tuple[tuple[str, str], ...] = ()
    axis: Axis = "step"
    charts: tuple[str, ...] = ()
    lines: Lines = "means"
    smoothing: Smoothing = "0"
    zoom: str = ""
    hidden: tuple[str, ...] = ()
    against: str = ""
    coordinates: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    all_settings: bool = False

    def query(self, **changes: object) -> str:
        """The choices with `changes` as the query of an address, without the runs."""
        return urlencode(replace(self, **changes).stored())  # type: ignore[arg-type]

    def stored(self) -> dict[str, str]:
        """The choices that were made, as `read` takes them."""
        values = {
            "baseline": self.baseline,
            "metric": self.metric,
            "delta": self.asked_interest,
            "by": "" if self.by == "groups" else self.by,
            "split": ",".join(self.split),
            "merge": ",".join(":".join(pair) for pair in self.merge),
            "axis": "" if self.axis == "step" else self.axis,
            "charts": "\n".join(self.charts),
            "lines": "" if self.lines == "means" else self.lines,
            "smoothing": "" if self.smoothing == "0" else self.smoothing,
            "zoom": self.zoom,
            "hidden": ",".join(self.hidden),
            "against": self.against,
            "coordinates": "\n".join(self.coordinates),
            "ranges": "\n".join(self.ranges),
            "settings": "all" if self.all_settings else "",
        }
        return {name: value for name, value in values.items() if value}


def read(values: Mapping[str, str]) -> Choices:
    """Read choices; a value that cannot be used counts as none."""
    # Postgres does not accept NUL characters in a query.
    text = {
        name: values.get(name, "").replace("\0", "")[:LONGEST_VALUE]
        for name in (
            "baseline",
            "metric",
            "delta",
            "by",
            "split",
            "merge",
            "axis",
            "charts",
            "lines",
            "smoothing",
            "zoom",
            "hidden",
            "against",
            "coordinates",
            "ranges",
            "settings",
        )
    }
    pairs = (entry.partition(":") for entry in _ids(text["merge"]))
    return Choices(
        baseline=text["baseline"],
        metric=text["metric"],
        asked_interest=text["delta"],
        by="runs" if text["by"] == "runs" else "groups",
        split=_ids(text["split"]),
        merge=tuple((first, second) for first, colon, second in pairs if colon),
        axis=text["axis"] if text["axis"] in get_args(Axis) else "step",  # type: ignore[arg-type]
        # A key of a series may contain commas.
        charts=tuple(filter(None, text["charts"].splitlines()))[:MOST_CHARTS],
        lines=text["lines"] if text["lines"] in get_args(Lines) else "means",  # type: ignore[arg-type]
        smoothing=text["smoothing"] if text["smoothing"] in get_args(Smoothing) else "0",  # type: ignore[arg-type]
        zoom=text["zoom"] if _is_range(text["zoom"]) else "",
        hidden=_ids(text["hidden"]),
        against=text["against"],
        coordinates=tuple(dict.fromkeys(filter(None, text["coordinates"].splitlines())))[
            :MOST_COORDINATES
        ],
        ranges=tuple(filter(None, text["ranges"].splitlines()))[:MOST_COORDINATES],
        all_settings=text["settings"] == "all",
    )


def run_ids(text: str) -> list[str]:
    """Return the different ids of runs in a list separated by commas, in their order."""
    return list(dict.fromkeys(_ids(text.replace("\0", ""))))


def _is_range(text: str) -> bool:
    """Return whether it is two numbers, the lower one first."""
    low, _, high = text.partition(":")
    try:
        return -math.inf < float(low) < float(high) < math.inf
    except ValueError:
        return False


def _ids(text: str) -> tuple[str, ...]:
    return tuple(entry for part in text.split(",") if (entry := part.strip()))

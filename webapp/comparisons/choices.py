"""What a person has chosen to compare, as it is in the query of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from django.utils.http import urlencode

from trainer.experiments.comparisons import INTEREST
from webapp.series.series_store import Axis

MOST_RUNS = 100
MOST_CHARTS = 8
# Bounds of one value, and of the characters of all of them.
LONGEST_VALUE = 4000
By = Literal["groups", "runs"]


@dataclass(frozen=True)
class Choices:
    """The choices beside the runs themselves; empty text: none was made.

    `baseline` is the id of a run of the pinned group. `merge` has pairs of ids of runs whose groups
    are joined. `against` is the setting of the scatter plot. `asked_interest` is δ as it was typed.
    """

    baseline: str = ""
    metric: str = ""
    asked_interest: str = ""
    by: By = "groups"
    split: tuple[str, ...] = ()
    merge: tuple[tuple[str, str], ...] = ()
    axis: Axis = "step"
    charts: tuple[str, ...] = ()
    against: str = ""
    all_settings: bool = False

    @property
    def interest(self) -> float:
        """δ: the smallest difference that matters; the usual one if it is no number above 0."""
        try:
            number = float(self.asked_interest)
        except ValueError:
            return INTEREST
        return number if math.isfinite(number) and number > 0 else INTEREST

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
            "against": self.against,
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
            "against",
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
        against=text["against"],
        all_settings=text["settings"] == "all",
    )


def run_ids(text: str) -> list[str]:
    """Return the different ids of runs in a list separated by commas, in their order."""
    return list(dict.fromkeys(_ids(text.replace("\0", ""))))


def _ids(text: str) -> tuple[str, ...]:
    return tuple(entry for part in text.split(",") if (entry := part.strip()))

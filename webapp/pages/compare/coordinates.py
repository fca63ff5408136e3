"""Settings and results of runs as parallel coordinates: an axis for each, a line for each run.

static/js/compare/coordinates.js draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from webapp.comparisons.choices import MOST_COORDINATES, Choices
from webapp.comparisons.results import RunResult
from webapp.comparisons.run_settings import SettingRow
from webapp.comparisons.statements import ComparedItem
from webapp.pages.compare.charts import is_share
from webapp.pages.compare.figures import as_finite

SETTING, RESULT = "setting:", "result:"
# Axes of differing settings and of results without a choice.
USUAL_SETTINGS = 6
USUAL_RESULTS = 3
# A setting of positive numbers that spans a larger factor has a logarithmic axis.
TWO_DECADES = 100
# Axes that can be added, of each kind.
MOST_OFFERED = 200
LONGEST_CATEGORY = 60


def differing_settings(items: Sequence[ComparedItem], rows: Sequence[SettingRow]) -> list[str]:
    """Return what differs among the items; last what does not tell groups apart, such as seeds."""
    ignored = {path for item in items for run in item.group.runs for path in run.ignored}
    return sorted((row.path for row in rows if row.differs), key=ignored.__contains__)


def usual_axes(settings: Sequence[str], results: Sequence[str], metric: str) -> tuple[str, ...]:
    """Return the axes without a choice: differing settings, then results, the primary one last."""
    shown = [key for key in results if key != metric][: USUAL_RESULTS - 1]
    return (
        *(f"{SETTING}{path}" for path in settings[:USUAL_SETTINGS]),
        *(f"{RESULT}{key}" for key in (*shown, metric)),
    )


def coordinates(
    items: Sequence[ComparedItem],
    settings: Sequence[str],
    metrics: Sequence[str],
    metric: str,
    usual: tuple[str, ...],
    choices: Choices,
) -> dict[str, Any] | None:
    """Return what is drawn and the axes that can be added; None for fewer than two runs.

    `settings` are the paths that differ among the items, `metrics` the series that have values.
    """
    runs = [(item, result) for item in items for result in item.results]
    if len(runs) < 2:
        return None
    within = (path for item in items for path in item.group.ignored if path != "name")
    paths = list(dict.fromkeys([*settings, *within]))
    offered = [
        *(f"{SETTING}{path}" for path in paths[:MOST_OFFERED]),
        *(f"{RESULT}{key}" for key in metrics[:MOST_OFFERED]),
    ]
    keys = [key for key in choices.coordinates if key in offered] or list(usual)
    results = [result for _, result in runs]
    primary = f"{RESULT}{metric}"
    drawn = {
        "axes": [_axis(key, results) for key in keys[:MOST_COORDINATES]],
        "usual": list(usual),
        "ranges": list(choices.ranges),
        "most": MOST_COORDINATES,
        "primary": _axis(primary, results),
        "runs": [
            {"name": result.run.name, "seed": result.settings.seed, "group": item.name}
            for item, result in runs
        ],
    }
    return {
        "drawn": drawn,
        "offered": [(key, key.partition(":")[2]) for key in offered if key not in keys],
    }


def _axis(key: str, results: Sequence[RunResult]) -> dict[str, Any]:
    """An axis with the value of each run: a number, the index of a category, or None."""
    kind, _, name = key.partition(":")
    if kind == "result":
        values = [
            last.value if (last := result.last.get(name)) and math.isfinite(last.value) else None
            for result in results
        ]
        return {
            **{"key": key, "name": name, "kind": "result", "scale": "linear", "values": values},
            "format": "percent" if is_share(name) else "plain",
        }
    texts = [result.settings.settings.get(name) for result in results]
    numbers = [None if text is None else as_finite(text) for text in texts]
    axis = {"key": key, "name": name, "kind": "setting", "format": "plain"}
    if all(text is None or number is not None for text, number in zip(texts, numbers, strict=True)):
        present = [number for number in numbers if number is not None]
        is_log = min(present, default=0) > 0 and max(present) / min(present) > TWO_DECADES
        return {**axis, "scale": "log" if is_log else "linear", "values": numbers}
    categories = sorted({text for text in texts if text is not None}, key=_order)
    index = {text: position for position, text in enumerate(categories)}
    return {
        **axis,
        "scale": "text",
        "categories": [text[:LONGEST_CATEGORY] for text in categories],
        "values": [None if text is None else index[text] for text in texts],
    }


def _order(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, then texts."""
    number = as_finite(text)
    return number is None, number or 0.0, text

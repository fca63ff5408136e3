"""Drawings of a comparison: one setting against the result, and reliability diagrams overlaid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webapp.base.number_text import plain
from webapp.pages.panels.calibration import READOUTS
from webapp.pages.panels.svg_plot import PlotArea, ticks

SCATTER = PlotArea(64, 12, 420, 220)
SQUARE = PlotArea(44, 12, 300, 300)
COLOURS = 6
# Lines of one reliability diagram: more of them cannot be told apart.
MOST_LINES = 24
# A setting that spans a factor of this or more is drawn on a logarithmic axis.
LOGARITHMIC = 20


def scatter(
    points: Sequence[tuple[str, float, int, str]], text: Callable[[float], str]
) -> dict[str, Any] | None:
    """Return a dot for each (setting, result, number of the group, name) with finite numbers.

    `text` writes a result. None if fewer than two can be drawn.
    """
    dots = [
        (x, y, number, name)
        for setting, y, number, name in points
        if (x := as_finite(setting)) is not None and math.isfinite(y)
    ]
    if len(dots) < 2:
        return None
    xs, ys = [x for x, *_ in dots], [y for _, y, *_ in dots]
    is_log = min(xs) > 0 and max(xs) / min(xs) >= LOGARITHMIC
    low, high = (_scaled(edge, is_log) for edge in (min(xs), max(xs)))
    return {
        "area": SCATTER,
        "is_log": is_log,
        "dots": [
            {
                "x": SCATTER.x(_share(_scaled(x, is_log), low, high)),
                "y": SCATTER.y(_share(y, min(ys), max(ys))),
                "series": number % COLOURS + 1,
                "label": f"{name}: {plain(x)}, {text(y)}",
            }
            for x, y, number, name in dots
        ],
        "x_ticks": [
            {"x": SCATTER.x(_share(_scaled(x, is_log), low, high)), "label": plain(x)}
            for x in (min(xs), max(xs))
        ],
        "y_ticks": [
            {"y": SCATTER.y(_share(y, min(ys), max(ys))), "label": text(y)}
            for y in dict.fromkeys((min(ys), max(ys)))
        ],
    }


def reliability(
    calibrations: Mapping[str, Mapping[int, Mapping[str, Any]]],
    lines: Sequence[tuple[int, str, int]],
) -> dict[str, Any] | None:
    """Return the curves of the first readout that some run has; None without any.

    `lines` has the primary key, the label and the number of the group of each run.
    """
    readout = next((name for name in READOUTS if calibrations.get(name)), None)
    if readout is None:
        return None
    payloads = calibrations[readout]
    drawn = [(payloads[pk], label, number) for pk, label, number in lines if pk in payloads]
    return {
        "readout": READOUTS[readout][0],
        "help": READOUTS[readout][1],
        "area": SQUARE,
        "ticks": ticks(SQUARE),
        "diagonal": SQUARE.points([(0, 0), (1, 1)]),
        "left_out": max(0, len(drawn) - MOST_LINES),
        "curves": [
            {
                "label": label,
                "series": number % COLOURS + 1,
                "ece": payload.get("ece"),
                "line": SQUARE.points(
                    [
                        (bin_["confidence"], bin_["accuracy"])
                        for bin_ in payload.get("bins", [])
                        if bin_["n"]
                    ]
                ),
            }
            for payload, label, number in drawn[:MOST_LINES]
        ],
    }


def as_finite(text: str) -> float | None:
    """Return the number that a setting is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _scaled(x: float, is_log: bool) -> float:
    return math.log(x) if is_log else x


def _share(value: float, low: float, high: float) -> float:
    """Where a value is between the ends, with a margin of 5 %; in the middle if they are equal."""
    return 0.5 if high <= low else 0.05 + 0.9 * ((value - low) / (high - low))

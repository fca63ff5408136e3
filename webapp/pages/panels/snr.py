"""The gradient's signal-to-noise ratio against pass rate as bars, in the coordinates of
templates/runs/snr.html (640 × 220).
"""

from __future__ import annotations

from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 48.0, 620.0, 16.0, 184.0
NARROWEST = 10.0


def plot(bins: list[dict[str, Any]]) -> dict[str, Any]:
    """`bars` with their whiskers, and `ticks` below. A bin that holds one pass rate only (0 or 1)
    gets a narrow bar, one without a ratio none.
    """
    measured = [one for one in bins if one["snr"] is not None]
    highest = (
        max((float((one.get("interval") or [0, one["snr"]])[1]) for one in measured), default=0.0)
        or 1.0
    )
    return {
        "bars": [_bar(one, highest) for one in measured],
        "ticks": [
            {"x": round(_across(p), 1), "label": f"{p:g}"} for p in (0.0, 0.25, 0.5, 0.75, 1.0)
        ],
    }


def _bar(one: dict[str, Any], highest: float) -> dict[str, float]:
    left, right = _across(one["low"]), _across(one["high"])
    width = max(right - left - 2, NARROWEST)
    middle = (left + right) / 2
    top = _up(float(one["snr"]), highest)
    whisker = (
        {
            "low": _up(float(one["interval"][0]), highest),
            "high": _up(float(one["interval"][1]), highest),
        }
        if one.get("interval")
        else {}
    )
    return {
        "x": middle - width / 2,
        "y": top,
        "width": width,
        "height": BOTTOM - top,
        "middle": middle,
        **whisker,
    }


def _across(p: float) -> float:
    return LEFT + NARROWEST + (RIGHT - LEFT - 2 * NARROWEST) * p


def _up(value: float, highest: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * min(value / highest, 1.0)

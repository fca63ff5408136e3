"""Bars of the gradient's signal-to-noise ratio by pass rate.

The coordinates are those of templates/runs/panels/_snr.html (640 × 220).
"""

from __future__ import annotations

from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 48.0, 620.0, 16.0, 184.0
# Bins for p = 0 and p = 1 have no width of their own: their bars get this one.
MIN_BAR_WIDTH = 10.0


def plot(bins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `bars` with their whiskers, and the `ticks` below them.

    A bin without a ratio gets no bar.
    """
    measured = [snr_bin for snr_bin in bins if snr_bin["snr"] is not None]
    # The axis ends at the highest whisker. It ends at 1 if every ratio is 0.
    tops = (float((b.get("interval") or [0, b["snr"]])[1]) for b in measured)
    highest = max(tops, default=0.0) or 1.0
    return {
        "bars": [_bar(snr_bin, highest) for snr_bin in measured],
        "ticks": [{"x": round(_x(p), 1), "label": f"{p:g}"} for p in (0.0, 0.25, 0.5, 0.75, 1.0)],
    }


def _bar(snr_bin: dict[str, Any], highest: float) -> dict[str, float]:
    x_low, x_high = _x(snr_bin["low"]), _x(snr_bin["high"])
    # 1 unit on both sides separates neighbouring bars.
    width = max(x_high - x_low - 2, MIN_BAR_WIDTH)
    middle = (x_low + x_high) / 2
    top = _y(float(snr_bin["snr"]), highest)
    coordinates = {
        "x": middle - width / 2,
        "y": top,
        "width": width,
        "height": BOTTOM - top,
        "middle": middle,
    }
    if snr_bin.get("interval"):
        low, high = snr_bin["interval"]
        coordinates |= {"low": _y(float(low), highest), "high": _y(float(high), highest)}
    return coordinates


def _x(p: float) -> float:
    # The margins at both ends keep the bars of p = 0 and p = 1 inside the plot.
    return LEFT + MIN_BAR_WIDTH + (RIGHT - LEFT - 2 * MIN_BAR_WIDTH) * p


def _y(value: float, highest: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * min(value / highest, 1.0)

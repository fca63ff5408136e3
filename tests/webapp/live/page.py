"""A page as the browser keeps it: series that frames replace or add to, and the cursor that it goes
on from.
"""

from __future__ import annotations

from typing import Any

Curve = dict[float, float | str]


class Page:
    """What a person would see drawn. `take` is what live.js and board.js do with a frame."""

    def __init__(self) -> None:
        self.cursor = 0
        self.curves: dict[str, Curve] = {}

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] not in ("delta", "reset") or (
            frame["type"] == "delta" and frame["cursor"] <= self.cursor
        ):
            return
        if frame["type"] == "reset" and frame["part"] == 0:
            self.curves = {}
        for series in frame["series"]:
            curve = self.curves.setdefault(series["key"], {})
            curve.update(
                zip(
                    series["x"],
                    series["y"] if frame["type"] == "delta" else series["mean"],
                    strict=True,
                )
            )
        if frame["part"] == frame["parts"] - 1:
            self.cursor = frame["cursor"]

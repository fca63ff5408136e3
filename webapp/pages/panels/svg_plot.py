"""The plot area of an SVG drawing: from shares (0 to 1) to coordinates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlotArea:
    """The rectangle inside a drawing in which values are drawn, in SVG user units."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x(self, share: float) -> float:
        """Return the x coordinate of a share of the width, from the left."""
        return round(self.left + self.width * share, 2)

    def y(self, share: float) -> float:
        """Return the y coordinate of a share of the height, from the bottom."""
        return round(self.bottom - self.height * share, 2)

    def points(self, shares: list[tuple[float, float]]) -> str:
        """Return the `points` of a polyline through (share of width, share of height) pairs."""
        return " ".join(f"{self.x(across):g},{self.y(up):g}" for across, up in shares)


def ticks(area: PlotArea, percent: bool = False) -> list[dict[str, object]]:
    """Return the tick labels of both axes for values from 0 to 1."""
    return [
        {
            "x": area.x(value),
            "y": area.y(value),
            "label": f"{100 * value:g} %" if percent else f"{value:g}",
        }
        for value in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]

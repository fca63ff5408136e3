"""Where numbers stand in a drawing: from values to the coordinates of an SVG."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlotArea:
    """The part of a drawing that values are drawn in."""

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
        """A share of the width, from the left."""
        return round(self.left + self.width * share, 2)

    def y(self, share: float) -> float:
        """A share of the height, from the bottom."""
        return round(self.bottom - self.height * share, 2)

    def points(self, shares: list[tuple[float, float]]) -> str:
        """A polyline through shares of width and height."""
        return " ".join(f"{self.x(across):g},{self.y(up):g}" for across, up in shares)


def ticks(frame: PlotArea, percent: bool = False) -> list[dict[str, object]]:
    """Labels of both axes for values from 0 to 1."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    return [
        {
            "x": frame.x(one),
            "y": frame.y(one),
            "label": f"{100 * one:g} %" if percent else f"{one:g}",
        }
        for one in shares
    ]

"""The panel of a teacher that is shown more than the student (OPSD, arXiv 2601.18734).

Read from the events of type `privileged`. It shows three pass rates on the same problems: of the
student without the extra context, of the teacher with it, and of the teacher continuing prefixes of
the student's own answers. On-policy distillation learns from the third, so the gate is whether the
third is above the first, problem by problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webapp.base.number_text import percent
from webapp.pages.panels.svg_plot import PlotArea, ticks

KIND = "privileged"
SERIES = {
    "plain": "student, without the extra context",
    "privileged": "privileged teacher",
    "continuation": "teacher continuing the student's own prefix",
}
AREA = PlotArea(48, 12, 360, 220)
# Horizontal distance of the three series, in SVG units: their whiskers must not overlap.
SERIES_OFFSET = 4.0


@dataclass(frozen=True)
class Gate:
    """Whether the teacher helps on the student's own prefixes.

    `passed` is None if that was not measured, or if the measurement cannot tell it from noise.
    """

    passed: bool | None
    text: str


def plot(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a line with whiskers for each pass rate."""
    first, last = measurements[0]["step"], measurements[-1]["step"]
    lines = [_line(name, index, measurements, first, last) for index, name in enumerate(SERIES)]
    steps = dict.fromkeys([first, measurements[len(measurements) // 2]["step"], last])
    return {
        "area": AREA,
        "ticks": ticks(AREA, percent=True),
        "lines": [line for line in lines if line["marks"]],
        "steps": [
            {"x": AREA.x(_axis_share(step, first, last)), "label": f"{step:,}"} for step in steps
        ],
    }


def gate(latest: dict[str, Any]) -> Gate:
    """Return what the newest measurement says about the method's precondition."""
    plain, continued = latest["plain"], latest.get("continuation")
    difference = latest.get("difference")
    if not continued or not difference:
        return Gate(None, "The teacher was not measured on prefixes of the student's own answers.")
    text = (
        f"Continuing the student's own prefix, the teacher solves {_rate(continued)}; "
        f"the student alone solves {_rate(plain)}."
    )
    # The lower end of the interval is above 0: the teacher is ahead beyond the noise.
    if difference["interval"][0] > 0:
        return Gate(
            True,
            f"{text} The teacher helps on the student's prefixes: there is something to learn.",
        )
    if difference["pass_rate"] > 0:
        return Gate(
            None, f"{text} The teacher is ahead, but the measurement cannot tell that from noise."
        )
    return Gate(
        False,
        f"{text} The teacher does not help on the student's prefixes: "
        "the method's precondition is not met.",
    )


def _rate(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{percent(rate['pass_rate'])} ({percent(low)} to {percent(high)})"


def _line(
    name: str, index: int, measurements: list[dict[str, Any]], first: int, last: int
) -> dict[str, Any]:
    marks = []
    for event in measurements:
        if rate := event.get(name):
            x = AREA.x(_axis_share(event["step"], first, last)) + SERIES_OFFSET * (index - 1)
            low, high = rate["interval"]
            marks.append(
                {"x": x, "y": AREA.y(rate["pass_rate"]), "low": AREA.y(low), "high": AREA.y(high)}
            )
    return {
        "label": SERIES[name],
        "series": index + 1,
        "marks": marks,
        "points": " ".join(f"{mark['x']:g},{mark['y']:g}" for mark in marks),
    }


def _axis_share(step: int, first: int, last: int) -> float:
    """Return the position of a step on the axis, which has a margin of 3 % at both ends."""
    return 0.5 if first == last else 0.03 + 0.94 * (step - first) / (last - first)

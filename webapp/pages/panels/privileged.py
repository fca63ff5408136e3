"""The panel of a teacher that is shown more than the student (OPSD, arXiv 2601.18734). From the
events of type `privileged`.

Three pass rates on the same problems: of the student asked plainly, of the teacher that writes with
what it is shown, and of that teacher going on from the beginnings of the student's own answers.
On-policy distillation learns from the third, so the gate is whether it beats the first, problem by
problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webapp.base.number_text import percent
from webapp.pages.panels.scrubber import events
from webapp.pages.panels.svg_plot import PlotArea, ticks
from webapp.runs.models import Run

KIND = "privileged"
SERIES = {
    "plain": "student, asked plainly",
    "privileged": "privileged teacher",
    "continuation": "teacher going on from the student's beginnings",
}
BOX = PlotArea(48, 12, 360, 220)
APART = 4.0


@dataclass(frozen=True)
class Gate:
    """Whether the teacher helps where the student is: None as long as the measurement cannot tell,
    or was not made.
    """

    passed: bool | None
    words: str


def rates(run: Run) -> list[dict[str, Any]]:
    """Every measurement, oldest first."""
    return [
        {**payload, "step": step}
        for step, payload in events(run, KIND).values_list("step", "payload")
    ]


def plot(found: list[dict[str, Any]]) -> dict[str, Any]:
    """A line with whiskers for each pass rate; the three stand a little apart, so that whiskers can
    be told.
    """
    first, last = found[0]["step"], found[-1]["step"]
    lines = [
        _line(name, words, at, found, first, last)
        for at, (name, words) in enumerate(SERIES.items())
    ]
    steps = dict.fromkeys([first, found[len(found) // 2]["step"], last])
    return {
        "frame": BOX,
        "ticks": ticks(BOX, percent=True),
        "lines": [line for line in lines if line["marks"]],
        "steps": [{"x": BOX.x(_share(step, first, last)), "label": f"{step:,}"} for step in steps],
    }


def gate(latest: dict[str, Any]) -> Gate:
    """What the newest measurement says of the precondition."""
    plain, continued, difference = (
        latest["plain"],
        latest.get("continuation"),
        latest.get("difference"),
    )
    if not continued or not difference:
        return Gate(
            None, "How the teacher goes on from the student's own beginnings was not measured."
        )
    told = f"Going on from the student's own beginnings, the teacher solves {_rate(continued)}; the student alone solves {_rate(plain)}."
    if difference["interval"][0] > 0:
        return Gate(
            True, f"{told} The teacher helps where the student is, so there is something to learn."
        )
    if difference["pass_rate"] > 0:
        return Gate(
            None, f"{told} The teacher is ahead, but the measurement cannot tell that from noise."
        )
    return Gate(
        False,
        f"{told} The teacher does not help where the student is: the method's precondition is not met.",
    )


def _rate(rate: dict[str, Any]) -> str:
    return f"{percent(rate['pass_rate'])} ({percent(rate['interval'][0])} to {percent(rate['interval'][1])})"


def _line(
    name: str, words: str, at: int, found: list[dict[str, Any]], first: int, last: int
) -> dict[str, Any]:
    marks = []
    for event in found:
        if rate := event.get(name):
            x = BOX.x(_share(event["step"], first, last)) + APART * (at - 1)
            low, high = rate["interval"]
            marks.append(
                {"x": x, "y": BOX.y(rate["pass_rate"]), "low": BOX.y(low), "high": BOX.y(high)}
            )
    return {
        "words": words,
        "series": at + 1,
        "marks": marks,
        "points": " ".join(f"{mark['x']:g},{mark['y']:g}" for mark in marks),
    }


def _share(step: int, first: int, last: int) -> float:
    """Where a step stands on the axis, which has room at both ends."""
    return 0.5 if first == last else 0.03 + 0.94 * (step - first) / (last - first)

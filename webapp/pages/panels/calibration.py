"""The calibration panel: does the student know what it knows? From the events of type
`calibration`.

A reliability diagram has a bar for each bin of confidence, as high as the share of its answers that
is right, with its 95 % interval. On the diagonal, confidence and accuracy agree. A risk–coverage
curve says how often the student is wrong among the answers that it is surest of: risk over the
share of answers that are kept.
"""

from __future__ import annotations

from typing import Any

from webapp.pages.panels.charts import Chart, ChartLine
from webapp.pages.panels.scrubber import events
from webapp.pages.panels.svg_plot import PlotArea, ticks
from webapp.runs.models import Run

KIND = "calibration"
ROLE = "evaluation"
READOUTS = {
    "stated": (
        "stated",
        "The number that the answer states. An answer without a readable one counts as 0.",
    ),
    "expected": (
        "expected",
        "The mean of the confidences that the student could have stated, by their probabilities.",
    ),
    "answer": ("of the answer", "The mean probability of the answer's own tokens, stated or not."),
}
UNSTATED = "answer"
"""The readout that needs no statement, in which none can be malformed."""
MALFORMED = {
    "missing": "state none",
    "duplicated": "state several",
    "out_of_range": "are outside 0 to 1",
    "malformed": "cannot be read",
}
SQUARE = PlotArea(44, 12, 300, 300)
COUNTS = PlotArea(44, 330, 300, 44)
RISK = PlotArea(48, 12, 300, 180)


def readouts(run: Run) -> list[str]:
    """The readouts that the run has measured, in the order in which they are offered."""
    known = set(events(run, KIND, role=ROLE).values_list("payload__readout", flat=True))
    return [name for name in READOUTS if name in known]


def reliability(bins: list[dict[str, Any]]) -> dict[str, Any]:
    """The diagram: a bar and a whisker for each bin that has answers, and below how many it has."""
    filled = [one for one in bins if one["n"]]
    most = max((one["n"] for one in filled), default=1)
    return {
        "frame": SQUARE,
        "counts": COUNTS,
        "diagonal": SQUARE.points([(0, 0), (1, 1)]),
        "ticks": ticks(SQUARE),
        "bars": [_bar(one, most) for one in filled],
    }


def risk_coverage(points: list[list[float]]) -> dict[str, Any] | None:
    """The curve, and the risk of keeping every answer; None where there is no answer."""
    if not points:
        return None
    shares = [(coverage, risk) for coverage, risk in points]
    return {
        "frame": RISK,
        "line": RISK.points(shares),
        "ticks": ticks(RISK),
        "all": RISK.y(shares[-1][1]),
        "points": points,
    }


def in_words(event: dict[str, Any]) -> str:
    """The diagram in a sentence, which says so where the confidence is nothing that an answer
    states.
    """
    if not event["n"]:
        return "No answer had both a confidence and a verdict."
    gap = _number(event.get("gap"))
    if gap is None:
        return f"{event['n']:,} answers."
    lean = "over-confident" if gap > 0 else "under-confident"
    mean, right = (
        _number(event.get("mean_confidence")) or 0.0,
        _number(event.get("accuracy")) or 0.0,
    )
    told = f"{event['n']:,} answers with a mean confidence of {mean:.2f}, of which {right:.2f} are right: {lean} by {abs(gap):.2f}."
    return (
        f"{told} This confidence is the mean probability of the answer's own tokens."
        if event["readout"] == UNSTATED
        else told
    )


def malformed(event: dict[str, Any]) -> list[tuple[str, int]]:
    """How many statements were wrong, by what was wrong."""
    counts = event.get("malformed") or {}
    return [(words, counts[name]) for name, words in MALFORMED.items() if counts.get(name)]


def charts(readout: str) -> tuple[Chart, ...]:
    """The measures of a readout over steps."""

    def key(name: str) -> str:
        return f"calibration/{readout}/{name}"

    empty = "Appears with the first evaluation."
    ece = (
        ChartLine(key("ece"), "ECE"),
        ChartLine(key("ece_if_calibrated"), "expected if perfectly calibrated"),
        ChartLine(key("ece_mass"), "equal mass"),
    )
    gap = (ChartLine(key("gap"), "gap"), ChartLine(key("mean_confidence"), "mean confidence"))
    ranking = (ChartLine(key("auroc"), "AUROC"), ChartLine(key("spr"), "SPR, ties lost"))
    malformed = Chart(
        "malformed",
        "Malformed statements",
        "share of the answers",
        (ChartLine(key("malformed"), "malformed"),),
        "percent",
        empty=empty,
    )
    return (
        Chart("ece", "Expected calibration error", "10 bins of equal width", ece, empty=empty),
        Chart(
            "brier",
            "Brier score",
            "mean squared error of the confidence",
            (ChartLine(key("brier"), "Brier"),),
            empty=empty,
        ),
        Chart("gap", "Over-confidence", "mean confidence − share right", gap, empty=empty),
        Chart(
            "auroc",
            "Ranking",
            "does a right answer have the higher confidence?",
            ranking,
            empty=empty,
        ),
        *(() if readout == UNSTATED else (malformed,)),
    )


def _bar(one: dict[str, Any], most: int) -> dict[str, Any]:
    left, right = SQUARE.x(one["low"]) + 1, SQUARE.x(one["high"]) - 1
    top, high = SQUARE.y(one["accuracy"]), COUNTS.y(one["n"] / most)
    low_end, high_end = one.get("interval") or (one["accuracy"], one["accuracy"])
    return {
        "x": left,
        "width": max(round(right - left, 2), 2),
        "middle": SQUARE.x(one["confidence"]),
        "y": top,
        "height": round(SQUARE.bottom - top, 2),
        "low": SQUARE.y(low_end),
        "high": SQUARE.y(high_end),
        "count_y": high,
        "count_height": round(COUNTS.bottom - high, 2),
        "over": one["confidence"] > one["accuracy"],
        "gap_y": min(top, SQUARE.y(one["confidence"])),
        "gap_height": round(abs(top - SQUARE.y(one["confidence"])), 2),
    }


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None

"""The calibration panel: how well the student's confidence matches its accuracy.

Read from the events of type `calibration`. The reliability diagram has a bar for each bin of
confidence: the share of its answers that is right, with a 95 % interval. On the diagonal,
confidence and accuracy agree. The risk–coverage curve shows the share of wrong answers (risk) among
the answers with the highest confidence, over the share of answers kept (coverage).
"""

from __future__ import annotations

from typing import Any

from webapp.pages.panels.charts import Chart, ChartLine
from webapp.pages.panels.scrubber import events
from webapp.pages.panels.svg_plot import PlotArea, ticks
from webapp.runs.models import Run

KIND = "calibration"
ROLE = "evaluation"
# Name in the event → (title, help text).
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
# This readout needs no statement, so none can be malformed.
UNSTATED = "answer"
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
    """Return the readouts that the run has measured, in the order of the menu."""
    measured = set(events(run, KIND, role=ROLE).values_list("payload__readout", flat=True))
    return [name for name in READOUTS if name in measured]


def reliability(bins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the reliability diagram: a bar and a whisker for each bin that has answers.

    Below them a second row of bars shows how many answers each bin has.
    """
    # A bin without answers has no accuracy.
    filled = [bin_ for bin_ in bins if bin_["n"]]
    max_count = max((bin_["n"] for bin_ in filled), default=1)
    return {
        "area": SQUARE,
        "counts": COUNTS,
        "diagonal": SQUARE.points([(0, 0), (1, 1)]),
        "ticks": ticks(SQUARE),
        "bars": [_bar(bin_, max_count) for bin_ in filled],
    }


def risk_coverage(points: list[list[float]]) -> dict[str, Any] | None:
    """Return the curve of (coverage, risk) points, and the risk at full coverage.

    Returns None if there are no answers.
    """
    if not points:
        return None
    shares = [(coverage, risk) for coverage, risk in points]
    return {
        "area": RISK,
        "line": RISK.points(shares),
        "ticks": ticks(RISK),
        "all": RISK.y(shares[-1][1]),
        "points": points,
    }


def summary(event: dict[str, Any]) -> str:
    """Return the diagram as a sentence; it says so if no answer states this confidence."""
    if not event["n"]:
        return "No answer had both a confidence and a verdict."
    gap = _number(event.get("gap"))
    if gap is None:
        return f"{event['n']:,} answers."
    confidence = _number(event.get("mean_confidence")) or 0.0
    accuracy = _number(event.get("accuracy")) or 0.0
    text = (
        f"{event['n']:,} answers with a mean confidence of {confidence:.2f}, "
        f"of which {accuracy:.2f} are right: "
        f"{'over-confident' if gap > 0 else 'under-confident'} by {abs(gap):.2f}."
    )
    if event["readout"] == UNSTATED:
        text += " This confidence is the mean probability of the answer's own tokens."
    return text


def malformed(event: dict[str, Any]) -> list[tuple[str, int]]:
    """Return (fault, count) pairs of the confidence statements that could not be used."""
    counts = event.get("malformed") or {}
    return [(text, counts[name]) for name, text in MALFORMED.items() if counts.get(name)]


def charts(readout: str) -> tuple[Chart, ...]:
    """Return the charts of a readout's measures over steps."""

    def lines(**labels: str) -> tuple[ChartLine, ...]:
        return tuple(
            ChartLine(f"calibration/{readout}/{name}", label) for name, label in labels.items()
        )

    empty = "Appears with the first evaluation."
    ece = lines(
        ece="ECE", ece_if_calibrated="expected if perfectly calibrated", ece_mass="equal mass"
    )
    gap = lines(gap="gap", mean_confidence="mean confidence")
    malformed_share = Chart(
        "malformed",
        "Malformed statements",
        "share of the answers",
        lines(malformed="malformed"),
        "percent",
        empty=empty,
    )
    return (
        Chart("ece", "Expected calibration error", "10 bins of equal width", ece, empty=empty),
        Chart(
            "brier",
            "Brier score",
            "mean squared error of the confidence",
            lines(brier="Brier"),
            empty=empty,
        ),
        Chart("gap", "Over-confidence", "mean confidence − share right", gap, empty=empty),
        Chart(
            "auroc",
            "Ranking",
            "does a right answer have the higher confidence?",
            lines(auroc="AUROC", spr="SPR, ties lost"),
            empty=empty,
        ),
        *(() if readout == UNSTATED else (malformed_share,)),
    )


def _bar(bin_: dict[str, Any], max_count: int) -> dict[str, Any]:
    confidence, accuracy = bin_["confidence"], bin_["accuracy"]
    # 1 unit of distance on both sides separates neighbouring bars.
    x_low, x_high = SQUARE.x(bin_["low"]) + 1, SQUARE.x(bin_["high"]) - 1
    y_accuracy, y_confidence = SQUARE.y(accuracy), SQUARE.y(confidence)
    y_count = COUNTS.y(bin_["n"] / max_count)
    interval_low, interval_high = bin_.get("interval") or (accuracy, accuracy)
    return {
        "x": x_low,
        "width": max(round(x_high - x_low, 2), 2),
        "middle": SQUARE.x(confidence),
        "y": y_accuracy,
        "height": round(SQUARE.bottom - y_accuracy, 2),
        "low": SQUARE.y(interval_low),
        "high": SQUARE.y(interval_high),
        "count_y": y_count,
        "count_height": round(COUNTS.bottom - y_count, 2),
        "over": confidence > accuracy,
        "gap_y": min(y_accuracy, y_confidence),
        "gap_height": round(abs(y_accuracy - y_confidence), 2),
    }


def _number(value: Any) -> float | None:
    """Return `value` if it is a number: events hold NaN and infinity as strings."""
    return value if isinstance(value, int | float) else None

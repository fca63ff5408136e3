"""The charts of a comparison: which series, and which lines of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trainer.experiments.analysis import student_quantile
from trainer.experiments.comparisons import FEWEST_SEEDS
from webapp.comparisons.choices import MOST_CHARTS, Choices, Lines
from webapp.comparisons.results import HELD_OUT, RunResult
from webapp.comparisons.statements import ComparedItem

# Evaluations during a run may ask fewer problems than the last one: those that all asked.
USUAL_CHARTS = ("eval/common/pass_rate", "loss", "divergence/mean", "length/mean")
FEWEST_CHARTS = 4
# Parts of the names of metrics that are shares; others are written as plain numbers.
SHARES = ("pass_rate", "accuracy", "share")
SMOOTHINGS = {"0": "none", "0.6": "light", "0.9": "strong"}
LINES = {"means": "means of groups", "runs": "single runs", "both": "both"}


def is_share(metric: str) -> bool:
    return any(name in metric for name in SHARES)


def charts(
    items: Sequence[ComparedItem],
    metrics: Sequence[str],
    metric: str,
    choices: Choices,
    series: str,
) -> dict[str, Any]:
    """The charts; the lines of a group and of its runs have the same colour.

    A line for the mean of each group of several runs, for each run, or both, as chosen.
    """
    keys = [key for key in choices.charts if key in metrics] or usual_charts(metrics, metric)
    declarations = [
        {
            "id": f"compared-{index}",
            "title": key,
            "unit": "",
            "format": "percent" if is_share(key) else "plain",
            "log": False,
            "empty": "None of the runs has values.",
            "name": key,
            "lines": [
                line
                for number, item in enumerate(items)
                for line in _lines(item, number, key, choices.lines)
            ],
        }
        for index, key in enumerate(keys[:MOST_CHARTS])
    ]
    largest = max(len(item.results) for item in items)
    # By degrees of freedom, of which 0 has none.
    quantiles = [0.0, *(student_quantile(0.975, degrees) for degrees in range(1, largest))]
    return {
        "charts": declarations,
        "board": {
            "series": series,
            "charts": declarations,
            "axis": choices.axis,
            "smoothing": float(choices.smoothing),
            "zoom": [float(end) for end in choices.zoom.split(":")] if choices.zoom else None,
            "hidden": choices.hidden,
            "quantiles": quantiles,
        },
        "chart_keys": keys,
        "most_charts": MOST_CHARTS,
        "line_choices": LINES.items(),
        "smoothings": SMOOTHINGS.items(),
    }


def _lines(item: ComparedItem, number: int, key: str, lines: Lines) -> Iterator[dict[str, Any]]:
    """The lines of a run or a group in the chart of a series."""
    if item.is_group and lines != "runs":
        mean = f"{item.id}/mean/{key}"
        size = len(item.results)
        interval = "min to max" if size < FEWEST_SEEDS else "95 %"
        yield {
            "id": f"{item.id}/mean",
            "key": mean,
            "low": f"{mean}/low",
            "high": f"{mean}/high",
            "of": [f"{result.run.public_id}/{key}" for result in item.results],
            "label": f"{item.name}: mean of {size}, {interval}",
            "tint": number,
        }
    if item.is_group and lines == "means":
        return
    for result in item.results:
        yield {
            "id": result.run.public_id,
            "key": f"{result.run.public_id}/{key}",
            "label": line_label(item, result),
            "tint": number,
            "thin": item.is_group and lines == "both",
        }


def usual_charts(metrics: Sequence[str], metric: str) -> list[str]:
    """The charts without a choice."""
    usual = [key for key in (*USUAL_CHARTS, metric) if key in metrics]
    if usual and usual[0] == USUAL_CHARTS[0] and metric == HELD_OUT:
        usual.remove(HELD_OUT)
    return list(dict.fromkeys([*usual, *metrics]))[: max(FEWEST_CHARTS, len(set(usual)))]


def line_label(item: ComparedItem, result: RunResult) -> str:
    seed = result.settings.seed
    return f"{result.run.name}, seed {seed}" if item.is_group and seed is not None else item.name

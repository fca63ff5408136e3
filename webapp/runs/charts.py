"""The curated charts of a run: which series stand together, in which order, and what they are called.

The order is quality, then stability, then performance. A line is a key of `metrics.read`; a line with `low` and `high` has its interval
drawn as a band, and `right` puts it on an axis of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    key: str
    label: str
    low: str | None = None
    high: str | None = None
    right: bool = False
    format: str | None = None
    baseline: bool = False


@dataclass(frozen=True)
class Chart:
    """`log` is how the y axis starts; `empty` is shown until there is a point."""

    id: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    format: str = "plain"
    log: bool = False
    empty: str = "Appears with the first training step."

    @property
    def keys(self) -> list[str]:
        return [key for line in self.lines for key in (line.key, line.low, line.high) if key]


CHARTS = (
    Chart(
        "pass-rate",
        "Pass rate",
        "held-out problems, 95 % interval",
        (Line("eval/pass_rate", "held-out", "eval/pass_rate/low", "eval/pass_rate/high", baseline=True),),
        format="percent",
        empty="Appears with the first evaluation, before training begins.",
    ),
    Chart(
        "divergence", "Divergence", "nats per token", (Line("divergence/mean", "mean"), Line("divergence/p99", "99th percentile")), log=True
    ),
    Chart("loss", "Loss", "weighted divergence", (Line("loss", "loss"),)),
    Chart(
        "retained",
        "Retained skill",
        "pass rate outside the pool, 95 % interval",
        (Line("retained/pass_rate", "retained", "retained/pass_rate/low", "retained/pass_rate/high", baseline=True),),
        format="percent",
        empty="Appears with the first evaluation.",
    ),
    Chart(
        "answers",
        "Answers in training",
        "shares of the student's answers",
        (Line("pass_rate/train", "correct"), Line("truncated/share", "cut at the limit")),
        format="percent",
        empty="Appears when the student's own answers are trained on.",
    ),
    Chart(
        "entropy",
        "Entropy and length",
        "nats per token; tokens per answer",
        (Line("entropy/mean", "entropy"), Line("length/mean", "length", right=True)),
    ),
    Chart(
        "optimiser",
        "Gradient norm and learning rate",
        "before clipping",
        (Line("grad_norm", "gradient norm"), Line("learning_rate", "learning rate", right=True)),
    ),
    Chart(
        "throughput",
        "Throughput",
        "tokens trained and sampled per second",
        (Line("tokens_per_second", "tokens/s", format="count"), Line("time/step_s", "time of a step", right=True, format="seconds")),
        format="count",
    ),
    Chart(
        "memory",
        "Memory",
        "of the trainer",
        (Line("memory/rss_bytes", "main memory"), Line("memory/device_bytes", "device")),
        format="bytes",
    ),
)


def charts_of(spec: dict[str, Any] | None) -> tuple[Chart, ...]:
    """The charts that a run can fill: without a retained skill in its definition there is nothing to draw of it."""
    retained = spec is None or bool(spec.get("data", {}).get("retained"))
    return tuple(chart for chart in CHARTS if retained or chart.id != "retained")


def declaration(chart: Chart) -> dict[str, Any]:
    """`chart` as the browser reads it (static/js/charts/columns.js)."""
    lines = [{name: value for name, value in asdict(line).items() if value not in (None, False)} for line in chart.lines]
    return {
        "id": chart.id,
        "title": chart.title,
        "unit": chart.unit,
        "format": chart.format,
        "log": chart.log,
        "empty": chart.empty,
        "lines": lines,
    }

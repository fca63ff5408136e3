"""The curated charts of a run: which series stand together, in which order, and what they are
called.

The order is quality, then stability, then performance. A line is a key of `metrics.read`; a line
with `low` and `high` has its interval drawn as a band, and `right` puts it on an axis of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from webapp.runs import definitions
from webapp.runs.definitions import Definition


@dataclass(frozen=True)
class ChartLine:
    key: str
    label: str
    low: str | None = None
    high: str | None = None
    right: bool = False
    format: str | None = None
    baseline: bool = False


@dataclass(frozen=True)
class Chart:
    """`log` is how the y axis starts; `empty` is shown until there is a point. `fits` says which
    definitions lead to any.
    """

    id: str
    title: str
    unit: str
    lines: tuple[ChartLine, ...]
    format: str = "plain"
    log: bool = False
    empty: str = "Appears with the first training step."
    fits: Callable[[Definition], bool] = definitions.any_run

    @property
    def keys(self) -> list[str]:
        return [key for line in self.lines for key in (line.key, line.low, line.high) if key]


MACHINE = "system"
CHARTS = (
    Chart(
        "pass-rate",
        "Pass rate",
        "held-out problems, 95 % interval",
        (
            ChartLine(
                "eval/pass_rate",
                "held-out",
                "eval/pass_rate/low",
                "eval/pass_rate/high",
                baseline=True,
            ),
        ),
        format="percent",
        empty="Appears with the first evaluation, before training begins.",
    ),
    Chart(
        "calibration",
        "Calibration",
        "of confidences on held-out problems, as stated and as expected",
        (
            ChartLine("calibration/stated/ece", "ECE, stated"),
            ChartLine("calibration/stated/ece_if_calibrated", "ECE if perfectly calibrated"),
            ChartLine("calibration/stated/brier", "Brier, stated"),
            ChartLine("calibration/expected/ece", "ECE, expected"),
            ChartLine("calibration/expected/brier", "Brier, expected"),
        ),
        empty="Appears with the first evaluation.",
        fits=definitions.states_confidence,
    ),
    Chart(
        "privileged",
        "Privileged teacher",
        "pass rates, with and without what only the teacher is shown",
        (
            ChartLine("privileged/plain_pass_rate", "student"),
            ChartLine("privileged/pass_rate", "privileged teacher"),
            ChartLine(
                "privileged/continuation_pass_rate",
                "teacher going on from the student's beginnings",
            ),
        ),
        format="percent",
        empty="Appears when the teacher has been measured for the first time.",
        fits=definitions.is_privileged,
    ),
    Chart(
        "divergence",
        "Divergence",
        "nats per token",
        (ChartLine("divergence/mean", "mean"), ChartLine("divergence/p99", "99th percentile")),
        log=True,
        fits=definitions.compares_distributions,
    ),
    Chart("loss", "Loss", "what is minimised", (ChartLine("loss", "loss"),)),
    Chart(
        "selected",
        "Selected tokens",
        "share of the answers' tokens",
        (
            ChartLine("tokens/kept_share", "selected"),
            ChartLine("tokens/q3", "confident and wrong (Q3)"),
        ),
        format="percent",
        fits=definitions.selects_tokens,
    ),
    Chart(
        "capped",
        "Cut divergences",
        "share of the entries at the limit",
        (ChartLine("tokens/capped_share", "divergences cut"),),
        format="percent",
        fits=definitions.clips,
    ),
    Chart(
        "advantages",
        "Advantages",
        "shares",
        (
            ChartLine("advantages/zero_variance_share", "problems without a difference"),
            ChartLine("ratio/clipped_share", "clipped ratios"),
        ),
        format="percent",
        fits=definitions.has_advantages,
    ),
    Chart(
        "retained",
        "Retained skill",
        "pass rate outside the pool, 95 % interval",
        (
            ChartLine(
                "retained/pass_rate",
                "retained",
                "retained/pass_rate/low",
                "retained/pass_rate/high",
                baseline=True,
            ),
        ),
        format="percent",
        empty="Appears with the first evaluation.",
        fits=definitions.retains,
    ),
    Chart(
        "answers",
        "Answers in training",
        "shares of the answers that are trained on",
        (
            ChartLine("pass_rate/train", "correct, of the student's own"),
            ChartLine("truncated/share", "cut at the limit"),
        ),
        format="percent",
        fits=definitions.trains_on_own_answers,
    ),
    Chart(
        "entropy",
        "Entropy and length",
        "nats per token; tokens per answer",
        (ChartLine("entropy/mean", "entropy"), ChartLine("length/mean", "length", right=True)),
    ),
    Chart(
        "optimiser",
        "Gradient norm and learning rate",
        "before clipping",
        (
            ChartLine("grad_norm", "gradient norm"),
            ChartLine("learning_rate", "learning rate", right=True),
        ),
    ),
    Chart(
        "throughput",
        "Throughput",
        "tokens trained and sampled per second",
        (
            ChartLine("tokens_per_second", "tokens/s", format="count"),
            ChartLine("time/step_s", "time of a step", right=True, format="seconds"),
        ),
        format="count",
    ),
    Chart(
        "memory",
        "Memory",
        "of the trainer",
        (ChartLine("memory/rss_bytes", "main memory"), ChartLine("memory/device_bytes", "device")),
        format="bytes",
    ),
)


def charts_of(spec: dict[str, Any] | None) -> tuple[Chart, ...]:
    """The charts that a run can fill, as its definition tells; one that came without a definition
    gets those of a plain distillation.
    """
    return tuple(
        chart for chart in CHARTS if chart.fits(definitions.PLAIN if spec is None else spec)
    )


def by_prefix(keys: Iterable[str]) -> list[tuple[str, list[Chart]]]:
    """A chart for each key, grouped by what stands before the first slash; keys without one come
    first, figures of the machine last.
    """
    groups: dict[str, list[Chart]] = {}
    for place, key in enumerate(sorted(keys, key=_natural)):
        prefix, slash, _ = key.partition("/")
        chart = Chart(
            f"key-{place}", key, "", (ChartLine(key, key),), empty="Drawn when it is in view."
        )
        groups.setdefault(prefix if slash else "", []).append(chart)
    return sorted(groups.items(), key=lambda group: (group[0] == MACHINE, group[0]))


def _natural(key: str) -> list[str]:
    """An order in which layer 2 comes before layer 10."""
    return [part.zfill(20) if part.isdecimal() else part for part in re.split(r"(\d+)", key)]


def declaration(chart: Chart) -> dict[str, Any]:
    """`chart` as the browser reads it (static/js/charts/columns.js)."""
    lines = [
        {name: value for name, value in asdict(line).items() if value not in (None, False)}
        for line in chart.lines
    ]
    return {
        "id": chart.id,
        "title": chart.title,
        "unit": chart.unit,
        "format": chart.format,
        "log": chart.log,
        "empty": chart.empty,
        "lines": lines,
    }

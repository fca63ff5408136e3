"""The curated charts of a run: which series share a chart, in which order, with which titles.

The order is quality, then stability, then performance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from webapp.runs import definitions
from webapp.runs.definitions import Definition


@dataclass(frozen=True)
class ChartLine:
    """A series in a chart: `key` is its name in the series store.

    `low` and `high` are the keys of an interval, drawn as a band. `right` puts the line on an axis
    of its own at the right. `baseline` draws, as a level line, the pass rate that the evaluated
    problems had before training. `schedule`: the line is set and not measured, so that it is never
    smoothed.
    """

    key: str
    label: str
    low: str | None = None
    high: str | None = None
    right: bool = False
    format: str | None = None
    baseline: bool = False
    schedule: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with its axis settings.

    `log`: the y axis is logarithmic at first. `stacked`: the lines are parts of a whole, drawn on
    top of each other. `empty` is shown until there is a point. `fits` tells
    from a definition whether the run will have points.
    """

    id: str
    title: str
    unit: str
    lines: tuple[ChartLine, ...]
    format: str = "plain"
    log: bool = False
    stacked: bool = False
    empty: str = "Appears with the first training step."
    fits: Callable[[Definition], bool] = definitions.any_run

    @property
    def keys(self) -> list[str]:
        return [key for line in self.lines for key in (line.key, line.low, line.high) if key]


# Clients log figures of the machine under keys with this prefix.
MACHINE_PREFIX = "system"
# Words of a key in any spelling: weight_decay, weight-decay, weightDecay.
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
# Last words of series that are set or counted, beside those of learning rates.
SCHEDULED = (
    "_epoch",
    "_epochs",
    "_global_step",
    "_weight_decay",
    "_momentum",
    "_ema_decay",
    "_ema_rate",
    "_coef",
    "_coeff",
    "_coefficient",
    "_schedule",
    "_scheduler",
    "_tokens_seen",
    "_num_tokens",
    "_total_tokens",
    "_beta",
    "_betas",
    "_eps",
    "_epsilon",
    "_temperature",
    "_alpha",
    "_gamma",
    "_lambda",
    "_tau",
    "_eta",
    "_clip_range",
    "_clip_range_low",
    "_clip_range_high",
    "_clip_range_vf",
    "_loss_scale",
    "_grad_scale",
    "_step_size",
    "_batch_size",
    "_context_length",
    "_guidance_scale",
    "_noise_scale",
    "_kl_weight",
    "_loss_weight",
    "_warmup",
    "_dropout",
    "_mixing_ratio",
    "_exploration_rate",
)


def _pass_rate_chart(key: str, problems: str) -> Chart:
    line = ChartLine(key, "held-out", f"{key}/low", f"{key}/high", baseline=True)
    return Chart(
        "pass-rate",
        "Pass rate",
        f"{problems}, 95 % interval; dashed: the same problems before training",
        (line,),
        format="percent",
        empty="Appears with the first evaluation, before training begins.",
    )


PASS_RATE = _pass_rate_chart("eval/common/pass_rate", "held-out problems")


def _answers_chart(label: str, fits: Callable[[Definition], bool]) -> Chart:
    return Chart(
        "answers",
        "Answers in training",
        "shares of the answers trained on",
        (
            ChartLine("pass_rate/train", label),
            ChartLine("truncated/share", "truncated at the length limit"),
        ),
        format="percent",
        fits=fits,
    )


THROUGHPUT = Chart(
    "throughput",
    "Throughput",
    "tokens of the answers that steps train on, per second",
    (
        ChartLine("tokens_per_second", "tokens/s", format="count"),
        ChartLine("time/step_s", "time of a step", right=True, format="seconds"),
    ),
    format="count",
)
MEMORY = Chart(
    "memory",
    "Memory",
    "of the trainer",
    (ChartLine("memory/rss_bytes", "main memory"), ChartLine("memory/device_bytes", "device")),
    format="bytes",
)
CHARTS = (
    PASS_RATE,
    Chart(
        "calibration",
        "Calibration",
        "confidence on held-out problems, stated and expected",
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
        "pass rates with and without the extra context",
        (
            ChartLine("privileged/plain_pass_rate", "student"),
            ChartLine("privileged/pass_rate", "privileged teacher"),
            ChartLine(
                "privileged/continuation_pass_rate",
                "teacher continuing the student's own prefix",
            ),
        ),
        format="percent",
        empty="Appears with the first measurement of the teacher.",
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
    Chart("loss", "Loss", "the objective that is minimised", (ChartLine("loss", "loss"),)),
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
        "Clipped divergences",
        "share of the entries at the clip limit",
        (ChartLine("tokens/capped_share", "divergences clipped"),),
        format="percent",
        fits=definitions.clips,
    ),
    Chart(
        "advantages",
        "Advantages",
        "shares",
        (
            ChartLine(
                "advantages/zero_variance_share", "problems whose answers all score the same"
            ),
            ChartLine("ratio/clipped_share", "clipped ratios"),
            ChartLine("ratio/clipped_upper_share", "clipped above 1 + ε"),
            ChartLine("ratio/clipped_lower_share", "clipped below 1 − ε"),
            ChartLine("ratio/clipped_dual_share", "clipped by the dual clip"),
        ),
        format="percent",
        fits=definitions.has_advantages,
    ),
    Chart(
        "pair-margin",
        "Preference pairs",
        "implicit reward of the chosen answer above that of the rejected one",
        (
            ChartLine("pairs/margin", "margin"),
            ChartLine(
                "pairs/accuracy", "pairs with a margin above 0", right=True, format="percent"
            ),
        ),
        fits=definitions.learns_from_pairs,
    ),
    Chart(
        "pair-logprobs",
        "Log-probs of pairs",
        "nats per answer; both may fall while the margin grows",
        (
            ChartLine("pairs/chosen_logprob", "chosen"),
            ChartLine("pairs/rejected_logprob", "rejected"),
        ),
        fits=definitions.learns_from_pairs,
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
    _answers_chart("correct, student's own answers", definitions.trains_on_judged_answers),
    _answers_chart("agree with the most common answer", definitions.votes),
    Chart(
        "rollout-tokens",
        "Tokens of rollouts",
        "sampled in a step, and what became of them; buffered: stored or paused, less what was "
        "taken out",
        (
            ChartLine("rollout_tokens/generated", "generated"),
            ChartLine("rollout_tokens/consumed", "trained on"),
            ChartLine("rollout_tokens/buffered", "buffered"),
            ChartLine("rollout_tokens/pruned", "pruned"),
            ChartLine("rollout_tokens/dropped", "dropped"),
        ),
        format="count",
        fits=definitions.decides_about_rollouts,
    ),
    Chart(
        "decisions",
        "Decisions on rollouts",
        "of the controller in a step",
        tuple(
            ChartLine(f"decisions/{action}", action)
            for action in ("pause", "branch", "prune", "resample", "store", "drop")
        ),
        format="count",
        empty="Appears with the first decision other than to train on all answers.",
        fits=definitions.decides_about_rollouts,
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
            ChartLine("learning_rate", "learning rate", right=True, schedule=True),
        ),
    ),
    Chart(
        "updates",
        "Updates",
        "of the weights so far; learning rate and moving averages count these, not steps",
        (ChartLine("updates", "updates", schedule=True),),
        format="count",
        fits=definitions.has_several_updates,
    ),
    THROUGHPUT,
    MEMORY,
)


def pass_rate_chart(first: dict[str, Any] | None, subject: str = "held-out problems") -> Chart:
    """Return the chart of pass rates that suits a run's first evaluation, None before it.

    `subject` says which problems are evaluated.
    """
    if first is None:
        return PASS_RATE
    if not (common := first.get("common")):
        # Logs from before `common` have evaluations of several sets of problems in one series.
        return _pass_rate_chart("eval/pass_rate", subject)
    if common["problems"] == first["problems"]:
        return _pass_rate_chart("eval/common/pass_rate", subject)
    asked = f"the {common['problems']:,} {subject} that every evaluation asks"
    return _pass_rate_chart("eval/common/pass_rate", asked)


def charts_of(spec: dict[str, Any] | None, pass_rate: Chart = PASS_RATE) -> tuple[Chart, ...]:
    """Return the charts that a run with this definition can fill.

    A run without a definition (an imported one) gets those of a plain distillation. `pass_rate` is
    the chart for pass rates, see `pass_rate_chart`.
    """
    return tuple(
        pass_rate if chart is PASS_RATE else chart
        for chart in CHARTS
        if chart.fits(definitions.DEFAULT_DEFINITION if spec is None else spec)
    )


def charts_by_prefix(keys: Iterable[str]) -> list[tuple[str, list[Chart]]]:
    """Return a chart for each key, grouped by the text before the first slash of the key.

    Keys without a slash come first, those about the machine last.
    """
    groups: dict[str, list[Chart]] = {}
    # Numbers in a key are padded for the sort, so that `layer2` comes before `layer10`.
    sorted_keys = sorted(
        keys,
        key=lambda key: [
            text.zfill(20) if text.isdecimal() else text for text in re.split(r"(\d+)", key)
        ],
    )
    for index, key in enumerate(sorted_keys):
        prefix, slash, _ = key.partition("/")
        line = ChartLine(key, key, schedule=is_schedule(key))
        chart = Chart(f"key-{index}", key, "", (line,), empty="Drawn when scrolled into view.")
        groups.setdefault(prefix if slash else "", []).append(chart)
    return sorted(groups.items(), key=lambda group: (group[0] == MACHINE_PREFIX, group[0]))


def is_schedule(key: str) -> bool:
    """Return whether a client's series is set rather than measured, as its name tells.

    Such is a learning rate, in the many ways of writing it, a coefficient or a count of steps.
    """
    words = [word.lower() for word in WORD.findall(key)]
    is_learning_rate = any(word.endswith(("lr", "lrs")) for word in words) or any(
        pair in (("learning", "rate"), ("learning", "rates")) for pair in pairwise(words)
    )
    last_words = "".join(f"_{word.lower()}" for word in WORD.findall(key.rpartition("/")[2]))
    # A last part of digits only, as in `lr/0`, is the number of a group of parameters.
    last_words = last_words or "".join(f"_{word}" for word in words)
    return is_learning_rate or last_words.endswith(SCHEDULED)


def chart_json(chart: Chart) -> dict[str, Any]:
    """Return `chart` as static/js/charts/columns.js reads it."""
    return {
        "id": chart.id,
        "title": chart.title,
        "unit": chart.unit,
        "format": chart.format,
        "log": chart.log,
        "stacked": chart.stacked,
        "empty": chart.empty,
        "lines": [
            {name: value for name, value in asdict(line).items() if value not in (None, False)}
            for line in chart.lines
        ],
    }

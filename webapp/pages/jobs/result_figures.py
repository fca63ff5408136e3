"""The figures of a job's result: values, and positions of the bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.spec.jobs import Benchmark, JobSpec
from trainer.text.evaluation import intervals
from trainer.text.jobs.tallies import Rates, Tally, bin_begins, counts_of, tier_of
from webapp.pages.panels.svg_plot import PlotArea

FRAME = PlotArea(40, 10, 300, 140)
TIERS = ("mastered", "frontier", "hopeless")
# With this many samples or more, the possible pass rates are gathered into tenths.
MOST_BARS = 20
# Share of a bar's width that separates it from its neighbours.
GAP = 0.12


def figures_of(spec: JobSpec, tally: Tally) -> dict[str, Any]:
    rate, interval = tally.pass_rate
    length_bins = range(min(tally.lengths, default=0), max(tally.lengths, default=-1) + 1)
    return {
        "frame": FRAME,
        "pass_rate": rate,
        "interval": interval,
        "tiers": [(tier, tally.share(tier)) for tier in TIERS],
        "pass_at": [(k, tally.pass_at(k)) for k in spec.work.pass_at]
        if isinstance(spec.work, Benchmark)
        else [],
        "truncated": tally.truncated / max(1, tally.answers),
        "mean_tokens": tally.tokens / max(1, tally.answers),
        "histogram": _bars(_by_rate(tally.rates, spec.samples)) if spec.samples > 1 else [],
        # All bins between the shortest and the longest answer: an empty one is shown as a gap.
        "lengths": _bars(
            [(f"{bin_begins(number):,}", tally.lengths[number], "length") for number in length_bins]
        ),
        "groups": _groups(tally),
        "calibration": tally.calibration() if tally.stated else None,
    }


def _by_rate(rates: Rates, samples: int) -> list[tuple[str, int, str]]:
    """(label, problems, tier) per possible pass rate, or per tenth if there are many."""
    steps = samples if samples < MOST_BARS else 10
    counts = [0] * (steps + 1)
    for (passed, verdicts), count in rates.items():
        if not verdicts:
            continue
        # The first and the last bar hold only problems that are never or always solved, so rounding
        # must not put others there.
        index = min(steps - 1, max(1, round(steps * passed / verdicts)))
        if passed in (0, verdicts):
            index = steps if passed else 0
        counts[index] += count
    return [
        (f"{100 * index / steps:.0f} %", count, tier_of(index, steps))
        for index, count in enumerate(counts)
    ]


def _bars(columns: Sequence[tuple[str, int, str]]) -> list[dict[str, Any]]:
    """Return the bars of (label, count, tone) columns, side by side in FRAME."""
    counts = [count for _, count, _ in columns]
    most, total = max(counts, default=0), sum(counts)
    column_width = FRAME.width / max(1, len(columns))
    width = round(column_width * (1 - GAP), 2)
    return [
        {
            "label": label,
            "count": count,
            "share": count / total,
            "tone": tone,
            "x": (x := round(FRAME.left + index * column_width + GAP * column_width / 2, 2)),
            "y": FRAME.y(count / most),
            "width": width,
            "height": round(FRAME.height * count / most, 2),
            "middle": round(x + width / 2, 2),
        }
        for index, (label, count, tone) in enumerate(columns)
        # Without a single problem there is nothing to divide by.
        if most
    ]


def _groups(tally: Tally) -> list[dict[str, Any]]:
    groups = []
    for (by, name), rates in sorted(tally.groups.items()):
        rate, interval = intervals.pass_rate(*counts_of(rates))
        groups.append(
            {
                "by": by,
                "name": name,
                "problems": sum(rates.values()),
                "pass_rate": rate,
                "interval": interval,
            }
        )
    return groups

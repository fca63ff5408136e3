"""The table and the figure of `paced_sample`'s results.

    python -m trainer.experiments.paced_sample_report FOLDER

Reads FOLDER/results.json, prints a Markdown table and writes FOLDER/differences.svg: the change of
the pass rate against the base student, on the same held-out problems, with the 95 % bootstrap
interval over problems; one mark for each seed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

GROUPS = ("mastered or frontier", "mastered", "frontier", "hopeless", "retained")
LABELS = {"paced": "PACED", "uniform": "uniform", "hard_filter": "hard filter"}
COLOURS = {"paced": "#2f6fde", "uniform": "#c2571a", "hard_filter": "#3a8f4d"}
# The axis is fixed, so that figures of several result files can be compared. Intervals of the
# retained skill reach down to −0.76, those of the other groups up to 0.19.
LOW, HIGH, LEFT, WIDTH, ROW, GAP = -0.9, 0.3, 170, 560, 11, 16


class Change(NamedTuple):
    """Pass rate of one group of problems before and after a run, and the paired difference."""

    arm: str
    seed: int
    group: str
    problems: int
    before: float
    after: float
    difference: float
    low: float
    high: float


def changes(results: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Every group of every run, ordered by GROUPS, arm and seed."""
    # The first arm alone measures the untrained student; the other arms of the seed start from it.
    befores = {
        run["seed"]: run["evaluations"]
        for run in results
        if any(event["when"] == "before" for event in run["evaluations"])
    }
    unsorted = [change for run in results for change in _of_run(run, befores[run["seed"]])]
    arms = list(LABELS)
    return sorted(
        unsorted,
        key=lambda change: (GROUPS.index(change.group), arms.index(change.arm), change.seed),
    )


def _of_run(
    run: Mapping[str, Any], measured_before: Sequence[Mapping[str, Any]]
) -> Iterator[Change]:
    befores, afters = _groups(measured_before, "before"), _groups(run["evaluations"], "after")
    for name in GROUPS:
        after = afters[name]
        shift = after["difference"]
        rates = befores[name]["pass_rate"], after["pass_rate"], shift["pass_rate"]
        yield Change(run["arm"], run["seed"], name, after["n"], *rates, *shift["interval"])


def _groups(evaluations: Sequence[Mapping[str, Any]], when: str) -> dict[str, Mapping[str, Any]]:
    evaluation_by_role = {event["role"]: event for event in evaluations if event["when"] == when}
    tiers = {
        group["name"]: group
        for group in evaluation_by_role["evaluation"]["groups"]
        if group["by"] == "tier"
    }
    return {
        **tiers,
        "retained": {
            **evaluation_by_role["retained"],
            "n": evaluation_by_role["retained"]["problems"],
        },
    }


def table(rows: Sequence[Change]) -> str:
    """One line per group and arm, with a column `difference [low, high]` per seed."""
    seeds = sorted({row.seed for row in rows})
    lines = [
        f"| problems | arm | base | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |",
        "|---" * (4 + len(seeds)) + "|",
    ]
    for group in GROUPS:
        for arm, label in LABELS.items():
            arm_rows = [row for row in rows if (row.group, row.arm) == (group, arm)]
            base = _mean([row.before for row in arm_rows])
            mean = _mean([row.difference for row in arm_rows])
            cells = " | ".join(
                f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for row in arm_rows
            )
            lines.append(f"| {group} | {label} | {base:.3f} | {cells} | {mean:+.3f} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def figure(rows: Sequence[Change]) -> str:
    """The differences as an SVG, 760 units wide, for light and dark schemes."""
    marks, y = [], 40
    for group in GROUPS:
        group_rows = [row for row in rows if row.group == group]
        marks.append(
            f'<text x="{LEFT - 12}" y="{y + ROW * len(group_rows) / 2 + 3}" '
            f'text-anchor="end">{group}</text>'
        )
        for row in group_rows:
            marks.append(_mark(row, y))
            y += ROW
        y += GAP
    return "\n".join([*_frame(y), *marks, "</svg>"]) + "\n"


def _mark(row: Change, y: int) -> str:
    interval = f"[{row.low:+.3f}, {row.high:+.3f}]"
    title = f"{LABELS[row.arm]}, seed {row.seed}, {row.group}: {row.difference:+.3f} {interval}"
    return (
        f'<g stroke="{COLOURS[row.arm]}" fill="{COLOURS[row.arm]}"><title>{title}</title>'
        f'<line x1="{_x(row.low):.1f}" x2="{_x(row.high):.1f}" y1="{y}" y2="{y}" stroke-width="2"/>'
        f'<circle cx="{_x(row.difference):.1f}" cy="{y}" r="3.5" stroke="none"/></g>'
    )


def _frame(height: int) -> list[str]:
    ticks = [tenth / 10 for tenth in range(round(10 * LOW), round(10 * HIGH) + 1)]
    legend = [
        (
            f'<circle cx="{LEFT + 130 * index}" cy="14" r="4" fill="{COLOURS[arm]}"/><text '
            f'x="{LEFT + 130 * index + 9}" y="18">{label}</text>'
        )
        for index, (arm, label) in enumerate(LABELS.items())
    ]
    lines = [
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="{_x(tick):.1f}" '
        f'x2="{_x(tick):.1f}" y1="28" y2="{height}"/>'
        f'<text x="{_x(tick):.1f}" y="{height + 16}" text-anchor="middle">{tick:+.1f}</text>'
        for tick in ticks
    ]
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height + 44}" role="img" '
        'aria-label="Change of the pass rate against the base student, by group of '
        'problems, arm and seed">',
        "<style>text{font:12px system-ui,sans-serif;fill:#222}.grid{stroke:#8884}.zero{stroke:#888}"
        "@media (prefers-color-scheme:dark){text{fill:#ddd}}</style>",
        *legend,
        *lines,
        (
            f'<text x="{LEFT + WIDTH / 2}" y="{height + 36}" text-anchor="middle">change of the '
            "pass rate, 95 % interval over problems</text>"
        ),
    ]


def _x(value: float) -> float:
    return LEFT + WIDTH * (value - LOW) / (HIGH - LOW)


def main() -> None:
    folder = Path(sys.argv[1])
    rows = changes(json.loads((folder / "results.json").read_text()))
    (folder / "differences.svg").write_text(figure(rows))
    print(table(rows))


if __name__ == "__main__":
    main()

"""Figures of an experiment as plain SVG, 760 units wide, that follow the reader's light or dark
scheme.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from trainer.experiments.findings import Finding, mean_and_spread
from trainer.experiments.measures import Outcome, Point

COLOURS = (
    "#2f6fde",
    "#c2571a",
    "#3a8f4d",
    "#8a4fbf",
    "#b8902a",
    "#1f9aa8",
    "#c23b6b",
    "#6b7280",
    "#5b7f1e",
    "#94532e",
    "#3d4fb0",
)
WIDTH, LEFT, RIGHT = 760, 60, 20
ROW = 58
MIDDLE = (LEFT + WIDTH - RIGHT) / 2
STYLE = (
    "<style>text{font:11px system-ui,sans-serif;fill:#222}.grid{stroke:#8884}.zero{stroke:#888}.band{stroke:#2f6fde}.dot{fill:#2f6fde}"
    ".bound{stroke:#c2571a;stroke-dasharray:3 3}@media (prefers-color-scheme:dark){text{fill:#ddd}}</style>"
)


class Scale:
    """Maps low … high to the places from … to; an empty range becomes one around its value."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = (low - 0.5, high + 0.5) if low == high else (low, high)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        return [self.low + at * (self.high - self.low) / count for at in range(count + 1)]


def contrasts(findings: Sequence[Finding]) -> str:
    """Each contrast's differences as dots, their mean's 95 % interval as a line, and the bound that
    it must lie above, dashed.

    Zero is in the middle, and each contrast fills the width: contrasts of different metrics have
    nothing to be compared by.
    """
    measured = [finding for finding in findings if finding.differences]
    height = ROW * len(measured) + 10
    parts = [
        f'<line class="zero" x1="{MIDDLE}" x2="{MIDDLE}" y1="0" y2="{height}"/>',
        *(_contrast(finding, ROW * at + 18) for at, finding in enumerate(measured)),
    ]
    return _drawing(height, "Differences of the contrasts with their intervals", parts)


def curves(metric: str, titles: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    """The metric over tokens: a thin line for each seed, a thick one for the mean of an arm's seeds
    where they were measured together.
    """
    drawn = {
        arm: [each.curves[metric] for each in outcomes if each.arm == arm and metric in each.curves]
        for arm in titles
    }
    points = [point for runs in drawn.values() for run in runs for point in run]
    if not points:
        return _drawing(40, f"{metric} was not measured", [])
    across = Scale(
        min(point.tokens for point in points),
        max(point.tokens for point in points),
        LEFT,
        WIDTH - RIGHT,
    )
    up = Scale(min(point.value for point in points), max(point.value for point in points), 300, 20)
    parts = [_tick(across(tick), 322, f"{tick / 1000:,.0f} k") for tick in across.ticks()]
    parts += [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        for tick in up.ticks()
    ]
    parts += [
        f'<text x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        for tick in up.ticks()
    ]
    parts += [
        f'<text x="{(LEFT + WIDTH) / 2}" y="342" text-anchor="middle">tokens sampled and trained on</text>'
    ]
    for at, (arm, runs) in enumerate(drawn.items()):
        parts += _arm(escape(titles[arm]), runs, COLOURS[at % len(COLOURS)], at, across, up)
    return _drawing(
        360 + 18 * ((len(titles) + 2) // 3), f"{metric} over tokens, by arm and seed", parts
    )


def _arm(
    title: str, runs: Sequence[Sequence[Point]], colour: str, at: int, across: Scale, up: Scale
) -> Iterator[str]:
    for run in [*runs, _mean(runs)]:
        where = " ".join(f"{across(point.tokens):.1f},{up(point.value):.1f}" for point in run)
        width = 0.7 if run in runs and len(runs) > 1 else 2.5
        yield f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{width}"><title>{title}</title></polyline>'
    x, y = LEFT + 230 * (at % 3), 364 + 18 * (at // 3)
    yield f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y}">{title}</text>'


def _mean(runs: Sequence[Sequence[Point]]) -> list[Point]:
    columns = list(zip(*runs, strict=False))
    together = [column for column in columns if len({point.step for point in column}) == 1]
    return [
        Point(
            column[0].step,
            round(mean_and_spread(point.tokens for point in column)[0]),
            0.0,
            mean_and_spread(p.value for p in column)[0],
        )
        for column in together
    ]


def _contrast(finding: Finding, y: int) -> str:
    widest = max(abs(value) for value in _shown(finding)) or 1.0
    across = Scale(-widest, widest, LEFT, WIDTH - RIGHT)
    bound, found, middle = across(finding.contrast.above), finding.estimate, y + 26
    parts = [
        f'<line class="bound" x1="{bound:.1f}" x2="{bound:.1f}" y1="{middle - 6}" y2="{middle + 6}"/>'
    ]
    numbers = ""
    if found:
        ends = f'x1="{across(found.low):.1f}" x2="{across(found.high):.1f}" y1="{middle}" y2="{middle}"'
        parts.append(f'<line class="band" {ends} stroke-width="2"/>')
        numbers = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]: "
    parts += [
        f'<circle class="dot" cx="{across(each):.1f}" cy="{middle}" r="3"/>'
        for each in finding.differences.values()
    ]
    parts.append(f'<text x="8" y="{y}">{escape(finding.contrast.says)}</text>')
    parts.append(f'<text x="8" y="{y + 14}">{numbers}{escape(finding.verdict)}</text>')
    return "".join(parts)


def _shown(finding: Finding) -> list[float]:
    ends = [finding.estimate.low, finding.estimate.high] if finding.estimate else []
    return [*finding.differences.values(), *ends, finding.contrast.above]


def _tick(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>'


def _drawing(height: float, label: str, parts: Sequence[str]) -> str:
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return "\n".join([opening, STYLE, *parts, "</svg>"]) + "\n"

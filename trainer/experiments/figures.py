"""Figures of an experiment as plain SVG, 760 units wide, for light and dark schemes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from trainer.experiments.outcomes import Outcome, Point, mean_and_spread
from trainer.experiments.verdicts import Finding

# One for each arm, in the order of the definition; they repeat after eleven.
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
    "<style>text{font:11px system-ui,sans-serif;fill:#222}.grid{stroke:#8884}.zero{stroke:#888}"
    ".band{stroke:#2f6fde}.dot{fill:#2f6fde}.bound{stroke:#c2571a;stroke-dasharray:3 3}"
    "@media (prefers-color-scheme:dark){text{fill:#ddd}}</style>"
)


class Scale:
    """Maps low … high to start … end linearly; an empty range is widened around its value."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = (low - 0.5, high + 0.5) if low == high else (low, high)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        return [self.low + index * (self.high - self.low) / count for index in range(count + 1)]


def contrasts(findings: Sequence[Finding]) -> str:
    """Per contrast: differences as dots, the 95 % interval of the mean as a line, bounds dashed.

    A thin line is Bonferroni's interval of the claims.

    Zero is in the middle and each contrast has its own scale, because contrasts of different
    metrics have no common one.
    """
    measured = [finding for finding in findings if finding.differences]
    height = ROW * len(measured) + 10
    shapes = [
        f'<line class="zero" x1="{MIDDLE}" x2="{MIDDLE}" y1="0" y2="{height}"/>',
        *(_contrast(finding, ROW * index + 18) for index, finding in enumerate(measured)),
    ]
    return _svg(height, "Differences of the contrasts with their intervals", shapes)


def curves(metric: str, titles: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    """The metric over tokens: a thin line per seed, a thick one for the mean of an arm's seeds.

    The mean has points only at steps at which all seeds were measured.
    """
    curves_by_arm = {
        arm: [
            outcome.curves[metric]
            for outcome in outcomes
            if outcome.arm == arm and metric in outcome.curves
        ]
        for arm in titles
    }
    points = [point for runs in curves_by_arm.values() for run in runs for point in run]
    if not points:
        return _svg(40, f"{metric} was not measured", [])
    across = Scale(
        min(point.tokens for point in points),
        max(point.tokens for point in points),
        LEFT,
        WIDTH - RIGHT,
    )
    up = Scale(min(point.value for point in points), max(point.value for point in points), 300, 20)
    shapes = [
        f'<text x="{across(tick):.1f}" y="322" text-anchor="middle">{tick / 1000:,.0f} k</text>'
        for tick in across.ticks()
    ]
    shapes += [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        for tick in up.ticks()
    ]
    shapes += [
        f'<text x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        for tick in up.ticks()
    ]
    shapes.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="342" text-anchor="middle">'
        "tokens sampled and trained on</text>"
    )
    for index, (arm, runs) in enumerate(curves_by_arm.items()):
        shapes += _arm(escape(titles[arm]), runs, COLOURS[index % len(COLOURS)], index, across, up)
    return _svg(
        360 + 18 * ((len(titles) + 2) // 3), f"{metric} over tokens, by arm and seed", shapes
    )


def _arm(
    title: str, runs: Sequence[Sequence[Point]], colour: str, index: int, across: Scale, up: Scale
) -> Iterator[str]:
    for run in [*runs, _mean(runs)]:
        points = " ".join(f"{across(point.tokens):.1f},{up(point.value):.1f}" for point in run)
        # An arm with one seed has no second line for the mean, so its own line is the thick one.
        width = 0.7 if run in runs and len(runs) > 1 else 2.5
        yield (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}">'
            f"<title>{title}</title></polyline>"
        )
    x, y = LEFT + 230 * (index % 3), 364 + 18 * (index // 3)
    yield (
        f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y}">'
        f"{title}</text>"
    )


def _mean(runs: Sequence[Sequence[Point]]) -> list[Point]:
    # Not strict: a run that ended early has fewer points.
    columns = list(zip(*runs, strict=False))
    common = [column for column in columns if len({point.step for point in column}) == 1]
    return [
        Point(
            column[0].step,
            round(mean_and_spread(point.tokens for point in column)[0]),
            0.0,
            mean_and_spread(p.value for p in column)[0],
        )
        for column in common
    ]


def _contrast(finding: Finding, y: int) -> str:
    contrast, estimate, middle = finding.contrast, finding.estimate, y + 26
    ends = [estimate.low, estimate.high] if estimate else []
    bounds = [contrast.above] if contrast.within is None else [-contrast.within, contrast.within]
    adjusted = finding.adjusted_interval or ()
    widest = max(map(abs, [*finding.differences.values(), *ends, *bounds, *adjusted])) or 1.0
    across = Scale(-widest, widest, LEFT, WIDTH - RIGHT)
    shapes = [
        f'<line class="bound" x1="{across(bound):.1f}" x2="{across(bound):.1f}" '
        f'y1="{middle - 6}" y2="{middle + 6}"/>'
        for bound in bounds
    ]
    if adjusted:
        shapes.append(
            f'<line class="band" x1="{across(adjusted[0]):.1f}" x2="{across(adjusted[1]):.1f}" '
            f'y1="{middle}" y2="{middle}" stroke-width="0.7"/>'
        )
    numbers = ""
    if estimate:
        shapes.append(
            f'<line class="band" x1="{across(estimate.low):.1f}" x2="{across(estimate.high):.1f}" '
            f'y1="{middle}" y2="{middle}" stroke-width="2"/>'
        )
        numbers = f"{estimate.mean:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]: "
    shapes += [
        f'<circle class="dot" cx="{across(difference):.1f}" cy="{middle}" r="3"/>'
        for difference in finding.differences.values()
    ]
    shapes.append(f'<text x="8" y="{y}">{escape(contrast.says)}</text>')
    shapes.append(f'<text x="8" y="{y + 14}">{numbers}{escape(finding.words)}</text>')
    return "".join(shapes)


def _svg(height: float, label: str, shapes: Sequence[str]) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(label)}">'
    )
    return "\n".join([opening, STYLE, *shapes, "</svg>"]) + "\n"

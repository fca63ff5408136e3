"""Numbers, times and small drawings in templates. static/js/format.js formats the same way in the
browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from webapp.teams.access import Action, Actor

register = template.Library()

MINUS = "−"
SECONDS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


@register.filter
def plain(value: float | str | None) -> str:
    """Three significant digits; powers of ten only where needed."""
    number = _number(value)
    if number is None:
        return str(value or "–")
    size = abs(number)
    if not size:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return (
            f"{number:.2e}".replace("-", MINUS)
            .replace("e+0", "e")
            .replace("e+", "e")
            .replace(f"e{MINUS}0", f"e{MINUS}")
        )
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{number:.{digits}f}".replace("-", MINUS)


@register.filter
def percent(share: float | None) -> str:
    number = _number(share)
    return "–" if number is None else f"{100 * number:.1f} %".replace("-", MINUS)


@register.filter
def points(share: float | None) -> str:
    """A difference of shares as signed percentage points, without the unit."""
    number = _number(share)
    return "–" if number is None else f"{'+' if number >= 0 else MINUS}{abs(100 * number):.1f}"


@register.filter
def grouped(value: int | str | None) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


@register.filter
def bytes_size(size: int) -> str:
    power = min(4, int(math.log2(size) // 10)) if size > 0 else 0
    return f"{size / 1024**power:.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


@register.filter
def duration(seconds: float | str | None) -> str:
    """The two largest units."""
    number = _number(seconds)
    if number is None:
        return "–"
    whole = max(0, round(number))
    for size, unit, smaller, small_unit in SECONDS:
        if whole >= size:
            rest = whole % size // smaller
            return (
                f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
            )
    return f"{whole} s"


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """ "3 min ago" with the exact time behind it; static/js/ages.js keeps it true."""
    if moment is None:
        return "–"
    seconds = (timezone.now() - moment).total_seconds()
    text = "just now" if seconds < 5 else f"{_coarse(seconds)} ago"
    return format_html(
        '<time datetime="{}" title="{}" data-age>{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        text,
    )


@register.filter
def clock(moment: datetime) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S}",
        f"{moment:%H:%M:%S}",
    )


@register.filter
def sparkline(values: Sequence[float] | None) -> SafeString | str:
    """A small line of up to some 40 values, 96 × 24 pixels, its last value dotted."""
    finite = [number for number in map(_number, values or []) if number is not None]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    spread = high - low or 1.0
    places = [
        (2 + 90 * i / (len(finite) - 1), 21 - 18 * (value - low) / spread)
        for i, value in enumerate(finite)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return format_html(
        '<svg class="sparkline" width="96" height="24" viewBox="0 0 96 24" aria-hidden="true"><polyline points="{}"/>'
        '<circle cx="{}" cy="{}" r="2"/></svg>', line, f"{x:.1f}", f"{y:.1f}",
    )  # fmt: skip


@register.filter
def trajectory(rates: Sequence[float | None]) -> SafeString:
    """A problem's pass rate over time, from 0 at the bottom to 1 at the top; gaps where it has no
    verdict.
    """
    known = [
        (4 + 112 * i / max(1, len(rates) - 1), 21 - 18 * rate)
        for i, rate in enumerate(rates)
        if rate is not None
    ]
    words = (
        " → ".join(percent(rate) for rate in rates if rate is not None)
        if len(rates) <= 6
        else f"from {percent(rates[0])} to {percent(rates[-1])}"
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
    dots = SafeString("".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in known))
    return format_html(
        '<svg class="trajectory" width="120" height="24" viewBox="0 0 120 24" role="img" aria-label="{}"><polyline points="{}"/>{}</svg>',
        words,
        line,
        dots,
    )


@register.filter
def can(actor: Actor, action: Action) -> bool:
    """Whether the person may do `action` in their current team: for buttons."""
    return actor.can(action)


def _number(value: float | str | None) -> float | None:
    """The finite number in a value that may be a string such as "NaN", as JSON needs it, or missing
    from the context ("").
    """
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _coarse(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"

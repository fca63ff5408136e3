"""Template filters for numbers, times, small drawings and notes.

static/js/format.js formats numbers the same way in the browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.access.permissions import Action
from webapp.base.database_clock import database_now
from webapp.base.number_text import (
    as_number,
    bytes_size,
    duration,
    grouped,
    percent,
    plain,
    points,
)
from webapp.pages.markdown import first_line, notes_html

register = template.Library()
register.filter(notes_html)
register.filter(first_line)

for text_filter in (plain, percent, points, grouped, bytes_size, duration):
    register.filter(text_filter.__name__, text_filter)


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """Return "3 min ago" with the exact time as title; static/js/page.js updates it."""
    if moment is None:
        return "–"
    seconds = (database_now() - moment).total_seconds()
    # static/js/page.js has the same limits, so that the text does not change when it takes over.
    text = "just now" if seconds < 5 else f"{int(seconds)} s ago"
    for size, unit in ((60, "min"), (3600, "h"), (86400, "d")):
        if seconds >= size:
            text = f"{int(seconds // size)} {unit} ago"
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
def sparkline(values: Sequence[float] | None, name: str = "") -> SafeString | str:
    """Return a line of 96 × 24 pixels with a dot at its last value; about 40 values fit.

    `name` says what is drawn, and which way is better.
    """
    finite = [number for number in map(as_number, values or []) if number is not None]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    # A constant is drawn at the bottom.
    value_range = high - low or 1.0
    # 2 units are left on the left and 4 on the right, for the width of the line and for the dot.
    coordinates = [
        f"{2 + 90 * i / (len(finite) - 1):.1f},{21 - 18 * (value - low) / value_range:.1f}"
        for i, value in enumerate(finite)
    ]
    x, y = coordinates[-1].split(",")
    label = escape(f"{name or 'curve'}: from {plain(finite[0])} to {plain(finite[-1])}")
    # Not by format_html, which takes longer than all the rest: lists draw one in each row.
    return SafeString(
        '<svg class="sparkline" width="96" height="24" viewBox="0 0 96 24" role="img" '
        f'aria-label="{label}"><title>{label}</title><polyline points="{" ".join(coordinates)}"/>'
        f'<circle cx="{x}" cy="{y}" r="2"/></svg>'
    )


@register.filter
def trajectory(rates: Sequence[float | None]) -> SafeString:
    """Return a problem's pass rate over time as a line from 0 (bottom) to 1 (top).

    Measurements without a verdict are left out.
    """
    coordinates = [
        (4 + 112 * i / max(1, len(rates) - 1), 21 - 18 * rate)
        for i, rate in enumerate(rates)
        if rate is not None
    ]
    label = (
        " → ".join(percent(rate) for rate in rates if rate is not None)
        if len(rates) <= 6
        else f"from {percent(rates[0])} to {percent(rates[-1])}"
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in coordinates)
    # Safe, because only numbers are formatted into it.
    dots = SafeString(
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in coordinates)
    )
    return format_html(
        '<svg class="trajectory" width="120" height="24" viewBox="0 0 120 24" role="img" '
        'aria-label="{}"><polyline points="{}"/>{}</svg>',
        label,
        line,
        dots,
    )


@register.filter
def can(actor: Actor, action: Action) -> bool:
    """Return whether the person may do `action` in their current team: decides about buttons."""
    return permissions.may_in_team(actor, action)

"""Numbers and durations as text. static/js/format.js writes them the same way in the browser."""

from __future__ import annotations

import math

MINUS = "−"
SECONDS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def plain(value: float | str | None) -> str:
    """Return three significant digits; powers of ten only below 1e-3 and from 1e6 on."""
    number = as_number(value)
    if number is None:
        return str(value or "–")
    size = abs(number)
    if not size:
        return "0"
    if size < 1e-3 or size >= 1e6:
        # Python writes 1e+06 and 1e-07 where JavaScript writes 1e+6 and 1e-7.
        return (
            f"{number:.2e}".replace("-", MINUS)
            .replace("e+0", "e")
            .replace("e+", "e")
            .replace(f"e{MINUS}0", f"e{MINUS}")
        )
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{number:.{digits}f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    number = as_number(share)
    return "–" if number is None else f"{100 * number:.1f} %".replace("-", MINUS)


def points(share: float | None) -> str:
    """Return a difference of shares as signed percentage points, without the unit."""
    number = as_number(share)
    return "–" if number is None else f"{'+' if number >= 0 else MINUS}{abs(100 * number):.1f}"


def grouped(value: int | str | None) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def bytes_size(size: int) -> str:
    power = min(4, int(math.log2(size) // 10)) if size > 0 else 0
    return f"{size / 1024**power:.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def duration(seconds: float | str | None) -> str:
    """Return a duration in its two largest units, such as `2 h 5 min`."""
    number = as_number(seconds)
    if number is None:
        return "–"
    total = max(0, round(number))
    for size, unit, smaller, small_unit in SECONDS:
        if total >= size:
            remainder = total % size // smaller
            return (
                f"{total // size} {unit} {remainder} {small_unit}"
                if remainder
                else f"{total // size} {unit}"
            )
    return f"{total} s"


def as_number(value: float | str | None) -> float | None:
    """Return a finite number, or None for NaN, infinities, None and text that is no number.

    Values may be strings such as "NaN", as JSON needs, or "" if a template has no such variable.
    """
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None

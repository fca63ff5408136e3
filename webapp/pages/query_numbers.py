"""Whole numbers in addresses and forms, which may hold anything."""

from __future__ import annotations


def bigint(text: str) -> int | None:
    """Return `text` as a number that a bigint column can hold, or None."""
    # Postgres answers a larger number with an error; not every number of 19 digits fits.
    is_number = text.isascii() and text.isdecimal() and len(text) < 19
    return int(text) if is_number else None

"""Marks on views that the server reads before it runs them, by the address alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def takes_uploads(action: str, most_bytes: int | None = None) -> Callable[[View], View]:
    """Mark a view whose bodies may be as long as an upload, from whom may do `action`.

    `most_bytes` is a limit of this view below that of all uploads.
    """

    def mark(view: View) -> View:
        view.upload_action = action  # type: ignore[attr-defined]
        view.upload_bytes = most_bytes  # type: ignore[attr-defined]
        return view

    return mark


def slow(view: View) -> View:
    """Mark a view that reads whole files or waits for another process, see `webapp.base.turns`."""
    view.is_slow = True  # type: ignore[attr-defined]
    return view

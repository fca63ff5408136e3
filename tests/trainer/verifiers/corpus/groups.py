"""The form of the graded pairs: answers to one reference, right ones and wrong ones."""

from __future__ import annotations

from typing import Any, NamedTuple


class Group(NamedTuple):
    """Completions graded against one reference; `trap` says what the wrong ones look like."""

    trap: str
    reference: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    settings: dict[str, Any] = {}

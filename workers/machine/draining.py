"""Draining machines from the command line."""

from __future__ import annotations

import sys

from webapp.nodes import draining
from webapp.nodes.models import Node


def drain(name: str, move: bool) -> None:
    """Place nothing on the machine any more. Exits with a sentence if there is no such machine."""
    moved = draining.drain(_node(name), move)
    print(
        f"Nothing is placed on {name} any more."
        + (f" Runs that go on elsewhere: {moved}." if move else "")
    )


def undrain(name: str) -> None:
    """Take the machine back into use. Exits with a sentence if there is no such machine."""
    draining.undrain(_node(name))
    print(f"{name} is in use again.")


def _node(name: str) -> Node:
    found = Node.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(Node.objects.order_by("name").values_list("name", flat=True))
        sys.exit(f"There is no machine {name}. There are: {known or 'none yet'}.")
    return found

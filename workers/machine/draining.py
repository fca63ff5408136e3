"""Draining of machines from the command line."""

from __future__ import annotations

import sys

from webapp.nodes import draining
from webapp.nodes.models import Node


def drain(name: str, move: bool) -> None:
    """Place nothing more on the machine. Exits with a message if there is no such machine."""
    moved = draining.drain(_node(name), move)
    print(
        f"Nothing more is placed on {name}."
        + (f" Runs that are resumed elsewhere: {moved}." if move else "")
    )


def undrain(name: str) -> None:
    """Use the machine again. Exits with a message if there is no such machine."""
    draining.undrain(_node(name))
    print(f"{name} is in use again.")


def _node(name: str) -> Node:
    node = Node.objects.filter(name=name).first()
    if node is None:
        names = ", ".join(Node.objects.order_by("name").values_list("name", flat=True))
        sys.exit(f"There is no machine {name}. There are: {names or 'none yet'}.")
    return node

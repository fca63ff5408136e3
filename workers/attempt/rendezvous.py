"""Where the machines of one attempt meet, and from which checkpoint all of them begin. The leading
one decides once, the others read it.

Every attempt meets at another port, so that one which somebody else has taken costs an attempt and
not the run.
"""

from __future__ import annotations

import ipaddress
import socket

from webapp.nodes.models import Node
from webapp.runs.models import Attempt, Checkpoint


class Unreachable(Exception):
    """The others cannot reach the leading machine; the message says why."""


def arrange(attempt: Attempt, checkpoint: Checkpoint | None) -> None:
    """Settle the meeting of an attempt, unless that was done before. Raises Unreachable."""
    if attempt.meeting is None:
        meeting = {
            "place": f"{_address(attempt)}:{_free_port()}",
            "checkpoint": checkpoint and checkpoint.pk,
        }
        Attempt.objects.filter(pk=attempt.pk, meeting__isnull=True).update(meeting=meeting)
        attempt.refresh_from_db(fields=["meeting"])


def arguments(attempt: Attempt, machines: int, number: int) -> list[str]:
    """What the trainer of machine `number` is told of the others."""
    return [
        "--machines",
        str(machines),
        "--machine",
        str(number),
        "--meeting",
        str((attempt.meeting or {})["place"]),
    ]


def _address(attempt: Attempt) -> str:
    """Of the leading machine, as all reach it."""
    others = list(attempt.members.order_by("number").values_list("host", flat=True))
    addresses = dict(
        Node.objects.filter(name__in=[attempt.host, *others]).values_list("name", "address")
    )
    own = addresses.get(attempt.host, "127.0.0.1")
    apart = [name for name in others if addresses.get(name) != own]
    if apart and _is_loopback(own):
        raise Unreachable(
            f"{attempt.host} is known as {own}, where {apart[0]} cannot reach it. Set STILLROOM_ADDRESS on {attempt.host}."
        )
    return own


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _free_port() -> int:
    """Free now; somebody may be quicker."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port

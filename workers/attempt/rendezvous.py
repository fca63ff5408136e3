"""The address at which the machines of an attempt connect, and the checkpoint all of them load.

The leading machine chooses both once, the others read them from the attempt's row. Every attempt
uses another port, so that a port which another program takes costs one attempt and not the run.
"""

from __future__ import annotations

import ipaddress
import socket

from webapp.nodes.models import Node
from webapp.runs.models import Attempt, Checkpoint


class Unreachable(Exception):
    """The other machines cannot reach the leading one; the message says why."""


def choose(attempt: Attempt, checkpoint: Checkpoint | None) -> None:
    """Store address and checkpoint of an attempt, unless they are stored. Raises Unreachable."""
    if attempt.meeting is None:
        with socket.socket() as probe:
            # Another program may take the port before the trainer does; that costs this attempt.
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        meeting = {
            "place": f"{_leader_address(attempt)}:{port}",
            "checkpoint": checkpoint and checkpoint.pk,
        }
        # A supervisor that was replaced may have stored other values meanwhile: these then count.
        Attempt.objects.filter(pk=attempt.pk, meeting__isnull=True).update(meeting=meeting)
        attempt.refresh_from_db(fields=["meeting"])


def arguments(attempt: Attempt, machines: int, number: int) -> list[str]:
    """Return the options that tell the trainer of machine `number` about the others."""
    return [
        "--machines",
        str(machines),
        "--machine",
        str(number),
        "--meeting",
        str((attempt.meeting or {})["place"]),
    ]


def _leader_address(attempt: Attempt) -> str:
    """Return the leading machine's address. Raises Unreachable if it is a loopback address."""
    members = list(attempt.members.order_by("number").values_list("host", flat=True))
    addresses = dict(
        Node.objects.filter(name__in=[attempt.host, *members]).values_list("name", "address")
    )
    leader = addresses.get(attempt.host, "127.0.0.1")
    # Hosts with the same address are workers on one machine, where a loopback address works.
    elsewhere = [name for name in members if addresses.get(name) != leader]
    if elsewhere and _is_loopback(leader):
        raise Unreachable(
            f"{attempt.host} is known as {leader}, where {elsewhere[0]} cannot reach it. "
            f"Set STILLROOM_ADDRESS on {attempt.host}."
        )
    return leader


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"

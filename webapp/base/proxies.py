"""The client address behind proxies that the operator trusts.

A proxy appends the address of its client to `X-Forwarded-For`; earlier entries may be forged by the
client. So for a trusted peer the entry of the outermost of `hops` proxies in a row is used, and for
any other peer its own address.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from webapp.base.asgi_types import App, Receive, Send

log = logging.getLogger(__name__)
Networks = tuple[IPv4Network | IPv6Network, ...]
SCHEMES = {b"http": "http", b"https": "https"}
SECURE = {"http": "ws", "https": "wss"}


class TrustedProxies:
    """An ASGI middleware that takes the client's address and scheme from trusted proxies."""

    def __init__(self, app: App, trusted: Networks, hops: int) -> None:
        self.app, self.trusted, self.hops = app, trusted, hops
        self._warned = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._correct(scope)
        await self.app(scope, receive, send)

    def _correct(self, scope: MutableMapping[str, Any]) -> None:
        entries = [
            entry.strip()
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for entry in value.split(b",")
        ]
        if not entries:
            return
        peer = (scope.get("client") or ("", 0))[0]
        if not is_trusted(peer, self.trusted):
            self._warn(peer)
            return
        address = entries[-min(self.hops, len(entries))].decode("latin-1")
        # Some proxies add a port, as in `[::1]:5000` or `10.0.0.1:5000`. An IPv6 address without
        # brackets has several colons and no port.
        if address.startswith("["):
            address = address[1:].partition("]")[0]
        elif address.count(":") == 1:
            address = address.partition(":")[0]
        scope["client"] = (address, 0)
        scheme = SCHEMES.get(dict(scope["headers"]).get(b"x-forwarded-proto", b"").strip())
        if scheme:
            scope["scheme"] = scheme if scope["type"] == "http" else SECURE[scheme]

    # Once per process: the line would otherwise be written for every request.
    def _warn(self, peer: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "%s sends X-Forwarded-For, but STILLROOM_TRUSTED_PROXIES does not name it: "
                "all its visitors count as one.",
                peer or "A peer without an address",
            )


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Return whether the peer of a connection is a proxy that the operator trusts."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # A socket that listens on IPv6 gives IPv4 peers as ::ffff:a.b.c.d.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in trusted)

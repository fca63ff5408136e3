"""Whose word counts on where a visitor comes from: only that of proxies that the operator names.

A proxy writes the address that it was asked from at the end of `X-Forwarded-For`; what stands
before may come from the visitor. So of a trusted peer the entry counts that the outermost of `hops`
proxies in a row has written, and of everybody else the address itself.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from webapp.base.upload_limit import App, Receive, Send

log = logging.getLogger(__name__)
Networks = tuple[IPv4Network | IPv6Network, ...]
SCHEMES = {b"http": "http", b"https": "https"}
SECURE = {"http": "ws", "https": "wss"}


class TrustedProxies:
    """An ASGI application that is told the visitor's own address and scheme where trusted proxies
    stand in front.
    """

    def __init__(self, app: App, trusted: Networks, hops: int) -> None:
        self.app, self.trusted, self.hops = app, trusted, hops
        self._warned = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._correct(scope)
        await self.app(scope, receive, send)

    def _correct(self, scope: MutableMapping[str, Any]) -> None:
        said = [
            part.strip()
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for part in value.split(b",")
        ]
        if not said:
            return
        peer = (scope.get("client") or ("", 0))[0]
        if not self._trusts(peer):
            self._warn(peer)
            return
        scope["client"] = (_address(said[-min(self.hops, len(said))].decode("latin-1")), 0)
        scheme = SCHEMES.get(dict(scope["headers"]).get(b"x-forwarded-proto", b"").strip())
        if scheme:
            scope["scheme"] = scheme if scope["type"] == "http" else SECURE[scheme]

    def _trusts(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        known = getattr(address, "ipv4_mapped", None) or address
        return any(known in network for network in self.trusted)

    def _warn(self, peer: str) -> None:
        if not self._warned:
            self._warned = True
            text = "%s says for whom it asks (X-Forwarded-For), but STILLROOM_TRUSTED_PROXIES does not name it: all its visitors count as one."
            log.warning(text, peer or "A peer without an address")


def _address(text: str) -> str:
    """An address without the port that some proxies add."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

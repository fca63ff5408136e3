"""Where a visitor comes from is what the peer says only if it is a proxy that the operator names,
and then what the right one wrote.
"""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_network
from typing import Any

import pytest

from webapp.base.proxies import TrustedProxies

TRUSTED = ("127.0.0.1/32", "10.0.0.0/8", "::1/128")


def seen(
    peer: str | None,
    *forwarded: str,
    hops: int = 1,
    trusted: tuple[str, ...] = TRUSTED,
    proto: str = "",
) -> tuple[str, str]:
    """(address, scheme) that the program sees of a request."""
    clients: list[Any] = []

    async def program(scope: Any, receive: Any, send: Any) -> None:
        clients.append((scope["client"][0] if scope["client"] else "", scope["scheme"]))

    headers = [(b"x-forwarded-for", header.encode()) for header in forwarded] + [
        (b"x-forwarded-proto", proto.encode())
    ]
    scope = {"type": "http", "client": peer and (peer, 1), "scheme": "http", "headers": headers}
    unused: Any = None
    asyncio.run(
        TrustedProxies(program, tuple(map(ip_network, trusted)), hops)(scope, unused, unused)
    )
    return clients[0]


@pytest.mark.parametrize(
    ("forwarded", "hops", "address"),
    [
        (["203.0.113.9"], 1, "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], 1, "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9"], 1, "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9, 192.0.2.1"], 2, "203.0.113.9"),
        (["203.0.113.9"], 2, "203.0.113.9"),
        (["203.0.113.9:4711"], 1, "203.0.113.9"),
        (["[2001:db8::1]:4711"], 1, "2001:db8::1"),
        (["2001:db8::1"], 1, "2001:db8::1"),
        ([], 1, "127.0.0.1"),
    ],
)
def test_the_address_is_the_entry_that_the_outermost_trusted_proxy_wrote(
    forwarded: list[str], hops: int, address: str
) -> None:
    assert seen("127.0.0.1", *forwarded, hops=hops)[0] == address
    assert seen("::ffff:10.1.2.3", *forwarded, hops=hops)[0] == (
        address if forwarded else "::ffff:10.1.2.3"
    )


def test_headers_of_others_are_ignored_and_an_unlisted_proxy_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert seen("192.0.2.7", "203.0.113.9", proto="https") == ("192.0.2.7", "http")
    assert "STILLROOM_TRUSTED_PROXIES does not name it" in caplog.text
    assert seen("127.0.0.1", "203.0.113.9", trusted=()) == ("127.0.0.1", "http")
    assert seen(None, "203.0.113.9", trusted=("0.0.0.0/0",)) == ("", "http")
    assert seen("127.0.0.1", "203.0.113.9", proto="https") == ("203.0.113.9", "https")

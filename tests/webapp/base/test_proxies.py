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
    found: list[Any] = []

    async def program(scope: Any, receive: Any, send: Any) -> None:
        found.append((scope["client"][0] if scope["client"] else "", scope["scheme"]))

    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded] + [
        (b"x-forwarded-proto", proto.encode())
    ]
    scope = {"type": "http", "client": peer and (peer, 1), "scheme": "http", "headers": headers}
    nothing: Any = None
    asyncio.run(
        TrustedProxies(program, tuple(map(ip_network, trusted)), hops)(scope, nothing, nothing)
    )
    return found[0]


@pytest.mark.parametrize(
    ("said", "hops", "address"),
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
def test_of_a_trusted_proxy_the_entry_counts_that_the_outermost_has_written(
    said: list[str], hops: int, address: str
) -> None:
    assert seen("127.0.0.1", *said, hops=hops)[0] == address
    assert seen("::ffff:10.1.2.3", *said, hops=hops)[0] == (address if said else "::ffff:10.1.2.3")


def test_nobody_else_is_believed_and_a_proxy_that_is_not_named_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert seen("192.0.2.7", "203.0.113.9", proto="https") == ("192.0.2.7", "http")
    assert "STILLROOM_TRUSTED_PROXIES does not name it" in caplog.text
    assert seen("127.0.0.1", "203.0.113.9", trusted=()) == ("127.0.0.1", "http")
    assert seen(None, "203.0.113.9", trusted=("0.0.0.0/0",)) == ("", "http")
    assert seen("127.0.0.1", "203.0.113.9", proto="https") == ("203.0.113.9", "https")

"""Which origins are the server's own."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.base.own_origin import is_own_origin


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        (b"http://a.example", b"a.example", True),
        (b"http://a.example:80", b"a.example", True),
        (b"https://a.example", b"a.example", True),
        (b"https://a.example", b"a.example:443", True),
        (b"https://a.example:8443", b"a.example:8443", True),
        (b"http://[::1]:8000", b"[::1]:8000", True),
        (b"https://a.example:8443", b"a.example", False),
        (b"http://a.example:8000", b"a.example:8001", False),
        (b"http://[::1", b"[::1", False),
        (b"http://", b"", False),
        (b"\xff\xfe", b"a.example", False),
    ],
)
def test_scheme_host_and_port_are_compared(origin: bytes, host: bytes, is_own: bool) -> None:
    assert is_own_origin(origin, host) == is_own


def test_behind_tls_the_page_must_come_over_tls(settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    assert is_own_origin(b"https://a.example", b"a.example")
    assert not is_own_origin(b"http://a.example", b"a.example")

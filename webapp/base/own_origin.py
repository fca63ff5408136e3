"""Whether a request is for this server, and a WebSocket from one of its own pages."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from webapp.base.asgi_types import App, Receive, Scope, Send

PORTS = {"http": 80, "https": 443}
# The names that Django allows in development if ALLOWED_HOSTS is empty.
IN_DEVELOPMENT = [".localhost", "127.0.0.1", "[::1]"]


@lru_cache(maxsize=100)
def is_own_host(host: bytes) -> bool:
    """Return whether a Host header names this server."""
    domain, _ = split_domain_port(host.decode("latin-1"))
    return validate_host(domain, settings.ALLOWED_HOSTS or IN_DEVELOPMENT)


def is_own_origin(origin: bytes, host: bytes) -> bool:
    """Return whether an Origin header names the same scheme, host and port as the request.

    Cookies are sent to every port of a host, so a page on another port is another site.
    """
    asking, asked = _split(origin.decode("latin-1")), _split(f"//{host.decode('latin-1')}")
    if asking is None or asked is None or asking.scheme not in PORTS:
        return False
    if settings.SESSION_COOKIE_SECURE and asking.scheme != "https":
        return False
    default = PORTS[asking.scheme]
    return (asking.hostname, asking.port or default) == (asked.hostname, asked.port or default)


class OwnOriginOnly:
    """An ASGI middleware that denies WebSockets to pages of other origins."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin", b""), headers.get(b"host", b"")
        if is_own_host(host) and is_own_origin(origin, host):
            await self.app(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)


def _split(address: str) -> SplitResult | None:
    """Return the parts of an origin; None if it has others, such as a path or a user name."""
    try:
        parts = urlsplit(address)
        # The port is read when it is asked for.
        is_whole = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if not is_whole or not parts.hostname or "@" in parts.netloc or parts.path or parts.query:
        return None
    return parts

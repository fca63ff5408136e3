"""The command line of the web server (uvicorn)."""

from __future__ import annotations

# Bytes from a live page. A longer message closes its connection.
LARGEST_MESSAGE = 64 * 1024
# A page that does not answer a ping within another 20 s is disconnected.
PING_SECONDS = 20

# Frames are compressed once for all pages. Deflate per connection would compress each frame again
# for every page and keep a window in memory for every page.
LIVE_LIMITS = {
    "--ws-max-size": LARGEST_MESSAGE,
    "--ws-max-queue": 8,
    "--ws-ping-interval": PING_SECONDS,
    "--ws-ping-timeout": PING_SECONDS,
    "--ws-per-message-deflate": "false",
}


def uvicorn_arguments(host: str, port: int) -> list[str]:
    """Return the arguments after `python -m`."""
    return [
        "uvicorn",
        "webapp.asgi:application",
        # Limits of connections and of the heads of requests.
        "--http",
        "webapp.base.http_protocol:LimitedHttp",
        # webapp.base.proxies decides which proxies to trust; uvicorn must not rewrite addresses.
        "--no-proxy-headers",
        "--host",
        host,
        "--port",
        str(port),
        # Less than the time after which the launcher kills a child (CHILD_SECONDS).
        "--timeout-graceful-shutdown",
        "5",
        *(str(argument) for limit in LIVE_LIMITS.items() for argument in limit),
    ]

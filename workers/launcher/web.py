"""How the web process is started: what uvicorn is told, wherever it runs."""

from __future__ import annotations

LARGEST_MESSAGE = 64 * 1024  # of a live page; a longer one ends its connection
PING_SECONDS = 20  # a page that does not answer a ping within another 20 s is gone

# Frames are made once for all pages; deflate would compress each anew and hold a window for every
# page.
LIVE = {
    "--ws-max-size": LARGEST_MESSAGE,
    "--ws-max-queue": 8,
    "--ws-ping-interval": PING_SECONDS,
    "--ws-ping-timeout": PING_SECONDS,
    "--ws-per-message-deflate": "false",
}


def arguments(host: str, port: int) -> list[str]:
    """What follows `python -m`."""
    limits = [str(part) for limit in LIVE.items() for part in limit]
    place = ["--host", host, "--port", str(port), "--timeout-graceful-shutdown", "5"]
    return [
        "uvicorn",
        "webapp.asgi:application",
        "--no-proxy-headers",
        *place,
        *limits,
    ]  # webapp.base.proxies knows whom to believe

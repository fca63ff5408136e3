"""Which endpoints runs may use as teachers: URL prefixes in the setting STILLROOM_ENDPOINTS.

Workers send requests from inside the operator's network, so a free choice of URL would let a user
reach internal services (server-side request forgery).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

# Characters of an address without percent signs, spaces, ? and #, and none beyond ASCII.
PLAIN = re.compile(r"[A-Za-z0-9:/._~\-\[\]!$&'()*+,;=@]+")


def is_allowed(url: str) -> bool:
    """Return whether `url` is one of the listed prefixes or below one.

    A longer host name or a path with `..` does not match.
    """
    # What remains is read alike by every client. Clients resolve `..`, some also where it is
    # written %2e%2e or %252e%252e; some drop tabs and line breaks, and some read a backslash as a
    # slash. The request would leave the prefix.
    if not PLAIN.fullmatch(url):
        return False
    try:
        split_url = urlsplit(url)
    except ValueError:
        return False
    segments = split_url.path.split("/")[1:-1]
    if "@" in split_url.netloc or ".." in split_url.path or "" in segments or "." in segments:
        return False
    return any(
        url == prefix or url.startswith(f"{prefix}/")
        for prefix in (listed.rstrip("/") for listed in settings.STILLROOM_ENDPOINTS)
    )


def sentence() -> str:
    """Return a sentence that lists the allowed endpoints."""
    listed = ", ".join(settings.STILLROOM_ENDPOINTS)
    return (
        f"This server may ask: {listed}."
        if listed
        else "This server may ask none; its operator lists them in STILLROOM_ENDPOINTS."
    )


def refusal() -> str:
    return f"is no endpoint that this server may ask. {sentence()}"

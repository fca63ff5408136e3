"""URLs that commands print, where no request tells the server's own name."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse


def sign_in_address(token: str) -> str:
    """Return the URL of a one-time sign-in link on this machine."""
    environment = settings.ENVIRONMENT
    scheme = "https" if environment.https else "http"
    host = "127.0.0.1" if environment.host in ("0.0.0.0", "::") else environment.host
    url_host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{url_host}:{environment.port}{reverse('sign_in_link', args=[token])}"

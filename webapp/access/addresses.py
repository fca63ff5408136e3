"""URLs that commands print, where no request tells the server's own name."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from webapp.base.environment import ENV_FILE
from webapp.base.running_web import listening


def sign_in_address(token: str) -> str:
    """Return the URL of a one-time sign-in link on this machine.

    It has the port of the web that runs, which may have been started with other settings than
    those of this process.
    """
    environment = settings.ENVIRONMENT
    scheme = "https" if environment.https else "http"
    host, port = listening(ENV_FILE.parent) or (environment.host, environment.port)
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url_host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{url_host}:{port}{reverse('sign_in_link', args=[token])}"

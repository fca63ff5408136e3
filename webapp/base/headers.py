"""Response headers of every page, and the check of the Host header."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ContentSecurityPolicy:
    """Adds the headers of `settings.CONTENT_SECURITY_POLICY`.

    The policy allows no inline script or style, and nothing from other hosts.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.policy = "; ".join(
            f"{name} {value}" for name, value in settings.CONTENT_SECURITY_POLICY.items()
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.setdefault("Content-Security-Policy", self.policy)
        response.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response


class NotShared:
    """Keeps caches that several people share, such as proxies, from storing pages.

    A browser may store a page, but asks for it again, as after a sign-out.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.setdefault("Cache-Control", "private, no-cache")
        return response


class HostCheck:
    """Answers 400 to an unknown Host header, on every path (against DNS rebinding)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    # Django checks the host only where `get_host` is called, which is after static files are
    # answered. The call raises DisallowedHost, which Django turns into a 400.
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.get_host()
        return self.get_response(request)

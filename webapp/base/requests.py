"""Around every request: an id for it, how long it took, and one line in the log. Never its address,
which may hold a token.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from django.http import HttpRequest, HttpResponseBase

from webapp.base import logs, process_metrics
from webapp.base.headers import GetResponse

log = logging.getLogger(__name__)
GIVEN = re.compile(r"[\w-]{8,64}")
QUIET = ("healthz", "readyz", "metrics")


class RequestLog:
    """The outermost middleware. A proxy may give the id in `X-Request-ID`; the answer carries it
    back.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        number = given if GIVEN.fullmatch(given) else secrets.token_hex(8)
        begun = time.perf_counter()
        with logs.log_context(request=number):
            response = self.get_response(request)
            self._note(request, response, time.perf_counter() - begun)
        response["X-Request-ID"] = number
        return response

    def _note(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        view = request.resolver_match.view_name if request.resolver_match else "none"
        method = request.method if request.method in process_metrics.METHODS else "other"
        process_metrics.REQUESTS.labels(
            view=view, method=method, status=f"{response.status_code // 100}xx"
        ).observe(seconds)
        if view in QUIET or (view == "none" and response.status_code < 400):
            return
        person = getattr(request, "_cached_user", None)
        facts = {
            "view": view,
            "method": method,
            "status": response.status_code,
            "ms": round(1000 * seconds, 1),
        }
        with logs.log_context(**({"user": person.pk} if person is not None and person.pk else {})):
            log.info(
                "%s %s %d in %.0f ms",
                method,
                view,
                response.status_code,
                1000 * seconds,
                extra=facts,
            )

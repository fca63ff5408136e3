"""Request ids, request durations, and one log line per request.

The line has the name of the view, never the path, which may contain a token.
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
# The id is written to the log, so it must not hold line breaks or text of any length.
REQUEST_ID = re.compile(r"[\w-]{8,64}")
QUIET = ("healthz", "readyz", "metrics")


class RequestLog:
    """The outermost middleware.

    It takes the request id from `X-Request-ID` or makes one, and returns it in the response.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        header = request.headers.get("X-Request-ID", "")
        request_id = header if REQUEST_ID.fullmatch(header) else secrets.token_hex(8)
        started = time.perf_counter()
        with logs.log_context(request=request_id):
            response = self.get_response(request)
            self._record(request, response, time.perf_counter() - started)
        response["X-Request-ID"] = request_id
        return response

    def _record(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        view = request.resolver_match.view_name if request.resolver_match else "none"
        method = request.method if request.method in process_metrics.METHODS else "other"
        process_metrics.REQUESTS.labels(
            view=view, method=method, status=f"{response.status_code // 100}xx"
        ).observe(seconds)
        if view in QUIET or (view == "none" and response.status_code < 400):
            return
        # `request.user` would query the database on pages that need no user; Django keeps the user
        # in this attribute once somebody has asked for it.
        person = getattr(request, "_cached_user", None)
        with logs.log_context(**({"user": person.pk} if person is not None and person.pk else {})):
            log.info(
                "%s %s %d in %.0f ms",
                method,
                view,
                response.status_code,
                1000 * seconds,
                extra={
                    "view": view,
                    "method": method,
                    "status": response.status_code,
                    "ms": round(1000 * seconds, 1),
                },
            )

"""The server's HTTP protocol with a short wait for heads, so that a test need not wait long."""

from __future__ import annotations

from webapp.base.http_protocol import LimitedHttp


class ImpatientHttp(LimitedHttp):
    head_seconds = 1.0

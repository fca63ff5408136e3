"""Logging: one line per record, with run, attempt, request and user, and without secrets.

`STILLROOM_LOGS=json` writes one JSON object per line (time, level, logger, message, and run,
attempt, request and user if known); `text`, the default, is for people.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

HIDDEN = "…"
SECRETS = [
    # The value of an Authorization header.
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    # The token in the path of a share link, a sign-in link or an invitation.
    (re.compile(r"(/(?:s|sign-in|invitations)/)[\w-]{16,}"), rf"\1{HIDDEN}"),
    # The password in a URL, such as that of Postgres or Redis.
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    # A parameter of a query or a cookie.
    (
        re.compile(
            r"(?i)\b((?:access_|api_)?(?:token|password|secret|key)|sessionid|csrftoken)=[^\s&;,\"']+"
        ),
        rf"\1={HIDDEN}",
    ),
]
OWN_SECRETS = re.compile(r"(STILLROOM_SECRET_\w+|SECRET_KEY|STILLROOM_METRICS_TOKEN)")
# A shorter value, such as that of a test installation, may be a part of ordinary words.
SHORTEST_SECRET = 6

_context: ContextVar[Mapping[str, Any]] = ContextVar("log context", default=MappingProxyType({}))


@contextmanager
def log_context(**facts: Any) -> Iterator[None]:
    """Add facts to every record logged inside the block: `log_context(run="abc", attempt=2)`."""
    token = _context.set({**_context.get(), **facts})
    try:
        yield
    finally:
        _context.reset(token)


def configuration(style: str) -> dict[str, Any]:
    """Return Django's LOGGING: everything goes to standard error in one style, uvicorn's too."""
    uvicorn = {"level": "INFO", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": "webapp.base.logs.ContextFilter"}},
        "formatters": {
            "text": {"()": "webapp.base.logs.TextFormatter"},
            "json": {"()": "webapp.base.logs.JsonLineFormatter"},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": style,
                "filters": ["context"],
            }
        },
        "root": {"handlers": ["console"], "level": "INFO"},
        # `RequestLog` writes one line per request with the view instead of the path, which may
        # contain a token, so the servers' own access logs are off.
        "loggers": {
            "django.request": {"level": "ERROR"},
            "uvicorn": uvicorn,
            "uvicorn.error": uvicorn,
            "uvicorn.access": {**uvicorn, "level": "WARNING"},
        },
    }


class ContextFilter(logging.Filter):
    """Copies the facts of `log_context` to the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _context.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message [run=abc attempt=2]`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        facts = {
            name: getattr(record, name, None) for name in ("run", "attempt", "request", "user")
        }
        suffix = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        return super().formatMessage(record) + (f" [{suffix}]" if suffix else "")

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class JsonLineFormatter(JsonFormatter):
    """One JSON object per line."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
            timestamp="time",
            # uvicorn and Django add these to their records; they repeat what the message says.
            reserved_attrs=[*RESERVED_ATTRS, "color_message", "status_code", "server_time"],
            json_ensure_ascii=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def without_secrets(text: str) -> str:
    """Return `text` with tokens, passwords and the values of secret settings replaced."""
    for name, value in os.environ.items():
        if OWN_SECRETS.fullmatch(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, HIDDEN)
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text

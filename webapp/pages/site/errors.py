"""Error pages: what is wrong, what to do, and never a stack trace."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import render
from django.utils.html import format_html

from webapp.base import statement_limit
from webapp.base.headers import GetResponse
from webapp.runs import deletion
from webapp.runs.lookup import RunDeleted

PLAIN_TEXT = "text/plain; charset=utf-8"
UNREADABLE = "The server could not read this request. Go back and try again."
TOO_MUCH: dict[type[Exception], str] = {
    TooManyFilesSent: (
        f"The upload has more than {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files; nothing was "
        "stored. A model folder has few: choose the folder that save_pretrained wrote, "
        "without subfolders."
    ),
    RequestDataTooBig: (
        f"The form holds more than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20} MiB of text; "
        "nothing was changed. Go back and shorten it, or upload a file."
    ),
    TooManyFieldsSent: (
        f"The form holds more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} values; nothing was "
        "changed. Go back and shorten it."
    ),
}


def page(
    request: HttpRequest, status: int, title: str, message: str, remedy: str = ""
) -> HttpResponse:
    """Return the message page with `status`."""
    return render(
        request,
        "message.html",
        {
            "title": title,
            "message": message,
            "remedy": remedy,
            "link_url": "/",
            "link_text": "Show the runs",
        },
        status=status,
    )


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return a page without the site's frame: the request has no session or user yet."""
    message = next(
        (text for kind, text in TOO_MUCH.items() if isinstance(exception, kind)), UNREADABLE
    )
    return HttpResponse(
        format_html(
            '<!doctype html><html lang="en"><title>Bad request</title>'
            "<main><p>{}</p></main></html>",
            message,
        ),
        status=400,
    )


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(
        request,
        403,
        "Not allowed",
        str(exception or "") or "Your role in this team does not allow this.",
        "Ask an administrator of the team for another role.",
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, RunDeleted):
        context = {"run": exception.run, "until": deletion.undo_until(exception.run)}
        return render(request, "runs/deleted.html", context, status=404)
    return page(
        request,
        404,
        "Not found",
        "This page does not exist, or you do not have access to it.",
        "Check the address, or sign in with an account that has access.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 for a lost database or a slow query, 507 for a full disk, else 500.

    Django calls this while it handles the exception. The text is plain, because rendering a page
    may need what has just failed.
    """
    # Django's and psycopg's exceptions may have been replaced by another one on their way up.
    errors = list(_chain(sys.exc_info()[1]))
    if any(statement_limit.is_reached(error) for error in errors):
        return HttpResponse(f"{statement_limit.SENTENCE}\n", status=503, content_type=PLAIN_TEXT)
    if any(isinstance(error, OperationalError | InterfaceError) for error in errors):
        return HttpResponse(
            "The database does not answer. Runs continue without it, and nothing is lost. "
            "Try again in a moment.\n",
            status=503,
            content_type=PLAIN_TEXT,
            headers={"Retry-After": "5"},
        )
    if any(isinstance(error, OSError) and error.errno == errno.ENOSPC for error in errors):
        return HttpResponse(
            "The server's disk is full, so nothing was changed. "
            "Free some space on it and try again.\n",
            status=507,
            content_type=PLAIN_TEXT,
        )
    return HttpResponse(
        "Something went wrong on the server. Nothing that was recorded is lost; "
        "the server's log says what happened.\n",
        status=500,
        content_type=PLAIN_TEXT,
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return page(
        request,
        403,
        "Form not accepted",
        "The form was too old or came from another site, so nothing was changed.",
        "Reload the page and try again.",
    )


class FormsOnly:
    """Middleware: a page instead of an empty 405 if a POST-only URL is opened in the browser.

    It must come after the authentication middleware, as the page shows who is signed in.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or request.method != "GET":
            return response
        message_page = page(
            request,
            405,
            "No page at this address",
            "This address only accepts a form or a button press.",
            "Go back to the page with the button and press it again: "
            "signing in does not repeat a button press.",
        )
        message_page["Allow"] = response["Allow"]
        return message_page


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

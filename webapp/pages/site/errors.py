"""Refusals as pages: one plain sentence, what to do, and never a stack trace."""

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

from webapp.base.headers import GetResponse

PLAIN = "text/plain; charset=utf-8"
UNREADABLE = "This request could not be understood. Go back and try again."
TOO_MUCH: dict[type[Exception], str] = {
    TooManyFilesSent: f"These are more than {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files; nothing was stored. A model folder holds few: "
    "choose the folder that save_pretrained wrote, without others inside it.",
    RequestDataTooBig: f"The form holds more than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20} MiB of text; nothing was changed. "
    "Go back and shorten it, or upload a file.",
    TooManyFieldsSent: f"The form holds more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} values; nothing was changed. "
    "Go back and shorten it.",
}


def page(
    request: HttpRequest, status: int, title: str, message: str, remedy: str = ""
) -> HttpResponse:
    """The message page with `status`."""
    context = {
        "title": title,
        "message": message,
        "remedy": remedy,
        "link_url": "/",
        "link_text": "To the runs",
    }
    return render(request, "message.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """A page without the site around it: the request was refused before anything is known of who
    sent it.
    """
    said = next(
        (sentence for kind, sentence in TOO_MUCH.items() if isinstance(exception, kind)), UNREADABLE
    )
    page = format_html(
        '<!doctype html><html lang="en"><title>Not done</title><main><p>{}</p></main></html>', said
    )
    return HttpResponse(page, status=400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    reason = str(exception or "") or "Your role in this team does not allow that."
    return page(
        request, 403, "Not allowed", reason, "Ask an administrator of the team for another role."
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    remedy = "Check the address, or sign in as somebody who can see it."
    return page(
        request, 404, "Not found", "There is nothing here, or it is not shown to you.", remedy
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Called by Django while it handles the exception. What passes by itself is a 503 that says
    so.
    """
    if any(
        isinstance(error, OperationalError | InterfaceError) for error in _chain(sys.exc_info()[1])
    ):
        text = "The database does not answer just now. Runs go on without it, and nothing is lost. Try again in a moment.\n"
        return HttpResponse(text, status=503, content_type=PLAIN, headers={"Retry-After": "5"})
    if any(
        isinstance(error, OSError) and error.errno == errno.ENOSPC
        for error in _chain(sys.exc_info()[1])
    ):
        text = "The server's disk is full, so nothing was changed. Free some space on it and try again.\n"
        return HttpResponse(text, status=507, content_type=PLAIN)
    text = "Something went wrong on the server. Nothing that was recorded is lost; the server's log says what happened.\n"
    return HttpResponse(text, status=500, content_type=PLAIN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    message = "The form was too old or came from another site, so nothing was changed."
    return page(request, 403, "Not done", message, "Reload the page and try again.")


class FormsOnly:
    """An address that only takes a form, opened like a page: the refusal in words. After the
    middleware that knows who asks.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or request.method != "GET":
            return response
        remedy = "Go back to the page with the button. Signing in on the way here loses what was pressed, so press it again."
        found = page(
            request,
            405,
            "Nothing to see here",
            "This address only takes what a button or a form sends.",
            remedy,
        )
        found["Allow"] = response["Allow"]
        return found


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

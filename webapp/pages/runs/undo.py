"""Messages with an Undo button, and where a form leads back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.contrib import messages
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme

from webapp.runs.models import Run


def success(
    request: HttpRequest,
    text: str,
    undo: str,
    runs_by_tag: Mapping[str, Iterable[Run]],
    next_url: str = "",
) -> None:
    """Show `text` on the next page, with a button that applies the action `undo` to the runs.

    They are under the tag that the action is about, or under the empty text.
    """
    context = {
        "text": text,
        "undo": undo,
        "ids_by_tag": {
            tag: ",".join(run.public_id for run in runs) for tag, runs in runs_by_tag.items()
        },
        # They have left the list.
        "is_gone": undo in ("restore", "undelete"),
        "next": next_url,
    }
    messages.success(
        request, render_to_string("runs/_undo.html", context, request), extra_tags="lasting"
    )


def next_url(request: HttpRequest, default: str) -> str:
    """Return the address on this site that the form names as `next`, else `default`."""
    target = request.POST.get("next", "")
    # Unchecked, a form could lead to another site. Without a slash `redirect` takes it for a view.
    is_here = target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return target if is_here else default

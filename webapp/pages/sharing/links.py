"""Sharing one run or comparison by a link, and coming in by one."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from webapp.access import actors, permissions, shown_once
from webapp.access.actors import actor_of
from webapp.comparisons.models import SavedComparison
from webapp.pages.site import errors
from webapp.runs.lookup import find_run
from webapp.runs.models import Run
from webapp.sharing import links
from webapp.sharing.models import ShareLink


@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, run_id: str) -> HttpResponse:
    """The links of a run; POST makes one, which the page shows this once."""
    run = find_run(actor_of(request), "share", run_id)
    return share_page(request, run, "run", "revoke_share")


@require_POST
def revoke(request: HttpRequest, run_id: str, link_id: int) -> HttpResponse:
    """End a link."""
    # By the run's id too: the address names the run whose link is revoked.
    link = permissions.find(
        actor_of(request), "share", ShareLink, pk=link_id, run__public_id=run_id
    )
    return revoke_link(request, link, reverse("share", args=[run_id]))


@login_not_required
@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Come in by a link: from now on this browser may see the run or the comparison."""
    link = links.find(token)
    if link is None:
        message = "This link was revoked, has expired, or is incomplete."
        return errors.page(
            request, 410, "This link does not work", message, "Ask its sender for a new one."
        )
    # The link and not the run: when it is revoked or expires, the session loses access with it.
    granted = request.session.get(actors.GRANTS, [])
    if link.pk not in granted:
        # A new list: Django does not notice a change inside a stored one, and would not save it.
        request.session[actors.GRANTS] = [*granted, link.pk]
    if link.comparison is not None:
        return redirect("comparison", link.comparison.public_id)
    assert link.run is not None
    return redirect("run", link.run.public_id)


def share_page(
    request: HttpRequest, shown: Run | SavedComparison, page: str, revoke_page: str
) -> HttpResponse:
    """Answer a request for the page of links of `shown`, which the person may share.

    `page` is the URL name of what is shown, `revoke_page` that of revoking a link to it.
    """
    actor = actor_of(request)
    if request.method == "POST" and actor.user is not None:
        lifetime = links.LIFETIMES.get(request.POST.get("days", ""))
        if lifetime is None:
            messages.error(request, "Choose an expiry.")
            return redirect(request.path)
        link = reverse("shared", args=[links.share(shown, actor.user, lifetime)])
        return shown_once.redirect(request.path, link=request.build_absolute_uri(link))
    of_shown = {"run" if isinstance(shown, Run) else "comparison": shown}
    valid = (
        permissions.visible(actor, ShareLink)
        .filter(**of_shown, revoked_at=None, expires_at__gt=timezone.now())
        .select_related("created_by")
        .order_by("-created_at")
    )
    context = {
        "shown": shown,
        "kind": page,
        "back": reverse(page, args=[shown.public_id]),
        "links": [(made, reverse(revoke_page, args=[shown.public_id, made.pk])) for made in valid],
        **shown_once.read_secret(request),
    }
    return shown_once.hide_afterwards(request, render(request, "sharing/share.html", context))


def revoke_link(request: HttpRequest, link: ShareLink, back: str) -> HttpResponse:
    """Revoke a link, which the person may share, and go to `back`."""
    links.revoke(link)
    messages.success(request, "Link revoked.")
    return redirect(back)

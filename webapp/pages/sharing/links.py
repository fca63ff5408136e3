"""Sharing one run by a link, and coming in by one."""

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
from webapp.pages.site import errors
from webapp.runs.lookup import find_run
from webapp.sharing import links
from webapp.sharing.models import ShareLink


@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, run_id: str) -> HttpResponse:
    """The links of a run; POST makes one, which the page shows this once."""
    actor = actor_of(request)
    run = find_run(actor, "share", run_id)
    if request.method == "POST" and actor.user is not None:
        lifetime = links.LIFETIMES.get(request.POST.get("days", ""))
        if lifetime is None:
            messages.error(request, "Choose an expiry.")
            return redirect("share", run.public_id)
        link = reverse("shared", args=[links.share(run, actor.user, lifetime)])
        return shown_once.redirect(request.path, link=request.build_absolute_uri(link))
    context = {
        "run": run,
        "links": permissions.visible(actor, ShareLink)
        .filter(run=run, revoked_at=None, expires_at__gt=timezone.now())
        .select_related("created_by")
        .order_by("-created_at"),
        **shown_once.read_secret(request),
    }
    return shown_once.hide_afterwards(request, render(request, "sharing/share.html", context))


@require_POST
def revoke(request: HttpRequest, run_id: str, link_id: int) -> HttpResponse:
    """End a link."""
    links.revoke(
        # By the run's id too: the address names the run whose link is revoked.
        permissions.find(actor_of(request), "share", ShareLink, pk=link_id, run__public_id=run_id)
    )
    messages.success(request, "Link revoked.")
    return redirect("share", run_id)


@login_not_required
@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Come in by a link: from now on this browser may see the run."""
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
    return redirect("run", link.run.public_id)

"""Views of the list of runs that a team keeps under a name; everybody in the team can open them."""

from __future__ import annotations

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.access.permissions import current_team
from webapp.pages.runs.finding.list_query import ListQuery, list_query
from webapp.runs.event_rows import storable
from webapp.runs.models import SavedView

MOST_VIEWS = 200
LONGEST_NAME = 80
LONGEST_QUERY = 4000
TOO_LONG = "This view has too long a filter or too many columns to be saved."


@require_safe
def saved_view(request: HttpRequest, view_id: int) -> HttpResponse:
    view = permissions.find(actor_of(request), "view", SavedView, pk=view_id)
    return redirect(_address(view))


@require_POST
def save_view(request: HttpRequest) -> HttpResponse:
    """Save what is shown as a new view."""
    actor = actor_of(request)
    team = permissions.require(actor, "edit", current_team(request))
    name = _name(request)
    query = _query(request)
    views = permissions.visible(actor, SavedView).filter(team=team)
    if not name:
        messages.error(request, "The view has no name: write one, such as “Ablations”.")
    elif len(query) > LONGEST_QUERY:
        messages.error(request, TOO_LONG)
    elif views.count() >= MOST_VIEWS:
        messages.error(request, f"A team has {MOST_VIEWS} views at most. Delete one first.")
    else:
        try:
            with transaction.atomic():
                view = SavedView.objects.create(team=team, name=name, query=query, owner=actor.user)
        except IntegrityError:
            messages.error(
                request,
                f"There is a view “{name}” already. Choose another name, or open it and save your "
                "changes there.",
            )
        else:
            messages.success(request, f"Saved the view “{view.name}”.")
            return redirect(_address(view))
    return redirect(f"{reverse('runs')}?{query}")


@require_POST
def change_view(request: HttpRequest, view_id: int) -> HttpResponse:
    """Let a view show what the form's query shows."""
    view = permissions.find(actor_of(request), "edit", SavedView, pk=view_id)
    query = _query(request)
    if len(query) > LONGEST_QUERY:
        messages.error(request, TOO_LONG)
        return redirect(f"{reverse('runs')}?{query}&view={view.pk}")
    view.query = query
    SavedView.objects.filter(pk=view.pk).update(query=query)
    messages.success(request, f"Saved the changes of the view “{view.name}”.")
    return redirect(_address(view))


@require_POST
def rename_view(request: HttpRequest, view_id: int) -> HttpResponse:
    view = permissions.find(actor_of(request), "edit", SavedView, pk=view_id)
    name = _name(request)
    if not name:
        messages.error(request, "The view keeps its name: the new one is empty.")
    else:
        try:
            with transaction.atomic():
                SavedView.objects.filter(pk=view.pk).update(name=name)
        except IntegrityError:
            messages.error(request, f"There is another view “{name}”. Choose another name.")
    return redirect(_address(view))


@require_POST
def delete_view(request: HttpRequest, view_id: int) -> HttpResponse:
    view = permissions.find(actor_of(request), "edit", SavedView, pk=view_id)
    view.delete()
    messages.success(request, f"Deleted the view “{view.name}”.")
    return redirect(f"{reverse('runs')}?{view.query}")


def _address(view: SavedView) -> str:
    """Return the address of the list as the view shows it, which names the view."""
    return f"{reverse('runs')}?{view.query}{'&' if view.query else ''}view={view.pk}"


def _name(request: HttpRequest) -> str:
    return str(storable(request.POST.get("name", ""))).strip()[:LONGEST_NAME]


def _query(request: HttpRequest) -> str:
    return stored_query(
        list_query(QueryDict(request.POST.get("query", "").replace("\0", "").removeprefix("?")))
    )


def stored_query(query: ListQuery) -> str:
    """Return the query string of a list of runs without its page and its view."""
    return query.first_page().without_view().address().removeprefix("?")

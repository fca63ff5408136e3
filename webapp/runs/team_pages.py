"""What the pages of a team's own things share: which team they speak of, and where an upload leads."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from webapp.teams.models import Team


def team_of(request: HttpRequest) -> Team:
    """The team whose pages the person looks at. Raises PermissionDenied for somebody who is in none."""
    team: Team | None = request.actor.team
    if team is None:
        raise PermissionDenied("You are in no team yet. Ask somebody of a team for an invitation.")
    return team


def created(request: HttpRequest, address: str) -> HttpResponse:
    """Lead to what was created: by a redirect, or by 201 for a script, which must not follow it before the person does."""
    if "X-Upload" in request.headers:
        return HttpResponse(status=201, headers={"Location": address})
    return redirect(address)

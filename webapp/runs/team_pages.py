"""What the pages of a team's own things share: which team they speak of."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from webapp.teams import access
from webapp.teams.models import Team


def team_of(request: HttpRequest) -> Team:
    """The team whose pages the person looks at. Raises PermissionDenied for somebody who is in
    none.
    """
    team = access.actor_of(request).team
    if team is None:
        raise PermissionDenied("You are in no team yet. Ask somebody of a team for an invitation.")
    return team

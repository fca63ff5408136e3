"""Which team may use which secret of the workers.

A definition names a secret as `secret:<name>`; its value is in the environment of workers. The
operator lists in STILLROOM_SECRET_TEAMS whose it is. Without that, a team could send another
team's key to an endpoint.
"""

from __future__ import annotations

from django.conf import settings

from webapp.access.models import Team
from webapp.base.environment import secret_variable


def refusal(uri: str | None, team: Team) -> str:
    """Return why `team` may not use the secret; "" if it may, or if none is named.

    The only team of an installation has all secrets that are not listed.
    """
    if not uri:
        return ""
    name = uri.removeprefix("secret:")
    teams = settings.STILLROOM_SECRET_TEAMS.get(secret_variable(name))
    is_of_team = team.slug in teams if teams is not None else Team.objects.count() == 1
    # The same sentence for another team's secret and for none, so that nobody learns which exist.
    return (
        ""
        if is_of_team
        else f"is no secret of this team; its operator lists {name}={team.slug} in "
        "STILLROOM_SECRET_TEAMS"
    )

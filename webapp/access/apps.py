"""The app of people and teams. Its tables and migrations keep the label `teams`."""

from __future__ import annotations

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "webapp.access"
    label = "teams"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.access.models import ApiToken, Invitation, Membership, Team

        registry.register(Team, team="pk")
        registry.register(Membership, Invitation, ApiToken, team="team")

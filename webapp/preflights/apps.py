"""Registers preflights with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class PreflightsConfig(AppConfig):
    name = "webapp.preflights"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.preflights.models import Preflight

        registry.register(Preflight, team="team")

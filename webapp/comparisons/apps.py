"""Registers saved comparisons with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class ComparisonsConfig(AppConfig):
    name = "webapp.comparisons"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.comparisons.models import SavedComparison

        registry.register(SavedComparison, team="team", comparison="pk")

"""Says to whom share links belong, and what they grant."""

from __future__ import annotations

from django.apps import AppConfig


class SharingConfig(AppConfig):
    name = "webapp.sharing"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.sharing.links import shown_by_valid_links
        from webapp.sharing.models import ShareLink

        registry.register(ShareLink, team="team", deleted="run__deleted_at")
        registry.register_grants(shown_by_valid_links)

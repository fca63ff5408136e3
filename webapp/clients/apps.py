"""Register to which team the projects, origins and imports of client runs belong."""

from __future__ import annotations

from django.apps import AppConfig


class ClientsConfig(AppConfig):
    name = "webapp.clients"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.clients.models import Origin, Project, RunImport

        registry.register(Project, RunImport, team="team")
        registry.register(Origin, team="run__team", run="run", deleted="run__deleted_at")

"""Register to which team the projects, origins, files and imports of client runs belong."""

from __future__ import annotations

from django.apps import AppConfig


class ClientsConfig(AppConfig):
    name = "webapp.clients"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.clients.models import Origin, Project, RunFile, RunImport
        from webapp.clients.run_files import referenced_artifacts
        from webapp.library import artifacts

        registry.register(Project, RunImport, team="team")
        registry.register(Origin, RunFile, team="run__team", run="run", deleted="run__deleted_at")
        artifacts.register_references(referenced_artifacts)

"""Registers uploads with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    name = "webapp.library"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.library import artifacts, uploads
        from webapp.library.models import Artifact, DataReading, DataSet, StoredModel

        registry.register(Artifact, DataReading, DataSet, StoredModel, team="team")
        artifacts.register_references(uploads.referenced_artifacts)

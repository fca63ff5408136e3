"""Registers jobs with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "webapp.jobs"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.jobs.models import Job
        from webapp.jobs.results import referenced_artifacts
        from webapp.library import artifacts

        registry.register(Job, team="team")
        artifacts.register_references(referenced_artifacts)

"""Registers experiments with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "webapp.experiments"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.experiments.models import BaseStudent, Experiment, ExperimentRun

        registry.register(Experiment, team="team")
        registry.register(ExperimentRun, team="experiment__team")
        registry.register(BaseStudent, team="team")

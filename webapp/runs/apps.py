"""Registers runs and their rows with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "webapp.runs"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.library import artifacts
        from webapp.runs.lifecycle import referenced_artifacts
        from webapp.runs.models import (
            Attempt,
            Checkpoint,
            Event,
            RolloutRow,
            Run,
            RunIndex,
            RunValue,
            SavedView,
            Transition,
        )

        registry.register(Run, team="team", run="pk")
        registry.register(
            Attempt, Transition, Event, RolloutRow, Checkpoint, team="run__team", run="run"
        )
        registry.register(RunValue, RunIndex, team="team", run="run")
        registry.register(SavedView, team="team")
        artifacts.register_references(referenced_artifacts)

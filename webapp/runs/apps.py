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
            Evaluation,
            Event,
            RolloutRow,
            Run,
            RunIndex,
            RunValue,
            SavedView,
            Transition,
        )

        registry.register(Run, team="team", run="pk", deleted="deleted_at")
        registry.register(
            Attempt,
            Transition,
            Event,
            RolloutRow,
            Checkpoint,
            Evaluation,
            team="run__team",
            run="run",
            deleted="run__deleted_at",
        )
        # Read beside visible runs only: a join to the run would make each filter slow.
        registry.register(RunValue, RunIndex, team="team", run="run")
        registry.register(SavedView, team="team")
        artifacts.register_references(referenced_artifacts)

"""Checks of a job against what it names, which only the server can see.

A worker checks again before it begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.spec import EndpointTeacher, FileProblems, ServedTeacher, SpecIssue
from trainer.spec.jobs import CheckpointModel, JobSpec
from webapp.access import secrets
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.definition.run_checks import check_served_teacher
from webapp.library import locations, model_files
from webapp.library.locations import LocationError
from webapp.library.model_files import UnusableModel
from webapp.runs.branches import checkpoint_of


def validate_references(spec: JobSpec, team: Team) -> list[SpecIssue]:
    """Return the issues with everything that a valid job names."""
    issues = list(_check_model(spec, team))
    if isinstance(spec.problems, FileProblems):
        try:
            locations.data_path(spec.problems.path, team)
        except LocationError as error:
            issues.append(SpecIssue("problems.path", str(error)))
    return issues


def _check_model(spec: JobSpec, team: Team) -> Iterator[SpecIssue]:
    model = spec.model
    if isinstance(model, EndpointTeacher):
        if not endpoints.is_allowed(model.url):
            yield SpecIssue("model.url", endpoints.refusal())
        if problem := secrets.refusal(model.key, team):
            yield SpecIssue("model.key", problem)
    elif isinstance(model, ServedTeacher):
        yield from check_served_teacher("model", model, team)
    elif isinstance(model, CheckpointModel):
        if checkpoint_of(model.checkpoint, team) is None:
            yield SpecIssue(
                "model.checkpoint",
                "names a checkpoint that the team does not have; choose one on its run's page",
            )
    else:
        try:
            facts = locations.model_facts(model.model, team)
            # None is a model of the hub, whose files only a worker sees.
            if folder := locations.model_folder(model.model, team):
                model_files.require_usable(folder, weights=not model.random_init)
        except (LocationError, UnusableModel) as error:
            yield SpecIssue("model.model", str(error))
            return
        max_length = facts.max_length if facts else None
        requested = spec.sampling.max_new_tokens
        # The question needs room too, so an answer of the whole length is too long already.
        if max_length is not None and requested >= max_length:
            limit = f"the model reads at most {max_length:,} tokens, question included"
            yield SpecIssue(
                "sampling.max_new_tokens",
                f"is {requested:,}, but {limit}; lower it or choose another model",
            )

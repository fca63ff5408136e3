"""What only the server can see to be wrong with a job: what its names lead to. A worker looks again
before it begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.spec import EndpointTeacher, FileProblems, SpecIssue
from trainer.spec.jobs import CheckpointModel, JobSpec
from webapp.access.models import Team
from webapp.base import endpoints
from webapp.library import locations, model_files
from webapp.library.locations import LocationError
from webapp.library.model_files import UnusableModel
from webapp.runs.branches import checkpoint_of


def look_around(spec: JobSpec, team: Team) -> list[SpecIssue]:
    """Follow every name in a valid job."""
    return [*_model(spec, team), *_problems(spec, team)]


def _model(spec: JobSpec, team: Team) -> Iterator[SpecIssue]:
    model = spec.model
    if isinstance(model, EndpointTeacher):
        if not endpoints.is_allowed(model.url):
            yield SpecIssue("model.url", endpoints.refusal())
    elif isinstance(model, CheckpointModel):
        if checkpoint_of(model.checkpoint, team) is None:
            yield SpecIssue(
                "model.checkpoint",
                "names a checkpoint that the team does not have; choose one on the page of its run",
            )
    else:
        try:
            folder = locations.model_folder(model.model, team)
            longest = model_files.facts(folder).max_length if folder is not None else None
        except (LocationError, UnusableModel) as error:
            yield SpecIssue("model.model", str(error))
            return
        asked = spec.sampling.max_new_tokens
        if longest is not None and asked >= longest:
            reads = f"the model reads at most {longest:,} tokens, question included"
            yield SpecIssue(
                "sampling.max_new_tokens",
                f"is {asked:,}, but {reads}; lower it or choose another model",
            )


def _problems(spec: JobSpec, team: Team) -> Iterator[SpecIssue]:
    if isinstance(spec.problems, FileProblems):
        try:
            locations.data_path(spec.problems.path, team)
        except LocationError as error:
            yield SpecIssue("problems.path", str(error))

"""What only the server can see to be wrong with a job: what its names lead to. A worker looks again
before it begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.spec import EndpointTeacher, FileProblems, Problem
from trainer.spec.jobs import CheckpointModel, JobSpec
from webapp import endpoints
from webapp.runs import branches, model_files, places
from webapp.runs.model_files import UnusableModel
from webapp.runs.models import Checkpoint, Run
from webapp.runs.places import Nowhere
from webapp.teams.models import Team


def look_around(spec: JobSpec, team: Team) -> list[Problem]:
    """Follow every name in a valid job."""
    return [*_model(spec, team), *_problems(spec, team)]


def count_problems(spec: JobSpec, team: Team) -> int | None:
    """How many problems the job has, if that can be told without reading them."""
    source = spec.problems
    if not isinstance(source, FileProblems):
        return source.count
    try:
        found = places.data_set(source.path, team)
    except Nowhere:
        return None
    return min(found.problem_count, source.limit or found.problem_count) if found else source.limit


def checkpoint_of(uri: str, team: Team) -> Checkpoint | None:
    """The stored checkpoint of `checkpoint:<run>@<step>` on the run's live branch, if the team has
    it.
    """
    name, _, step = uri.removeprefix("checkpoint:").rpartition("@")
    run = Run.objects.filter(team=team, public_id=name).first()
    if run is None or not step.isdecimal() or len(step) > 18:
        return None
    return run.checkpoints.filter(branches.live(run), step=int(step)).order_by("-attempt").first()


def _model(spec: JobSpec, team: Team) -> Iterator[Problem]:
    model = spec.model
    if isinstance(model, EndpointTeacher):
        if not endpoints.is_allowed(model.url):
            yield Problem("model.url", endpoints.refusal())
    elif isinstance(model, CheckpointModel):
        if checkpoint_of(model.checkpoint, team) is None:
            yield Problem(
                "model.checkpoint",
                "names a checkpoint that the team does not have; choose one on the page of its run",
            )
    else:
        try:
            folder = places.model_folder(model.model, team)
            longest = model_files.facts(folder).max_length if folder is not None else None
        except (Nowhere, UnusableModel) as error:
            yield Problem("model.model", str(error))
            return
        asked = spec.sampling.max_new_tokens
        if longest is not None and asked >= longest:
            reads = f"the model reads at most {longest:,} tokens, question included"
            yield Problem(
                "sampling.max_new_tokens",
                f"is {asked:,}, but {reads}; lower it or choose another model",
            )


def _problems(spec: JobSpec, team: Team) -> Iterator[Problem]:
    if isinstance(spec.problems, FileProblems):
        try:
            places.data_path(spec.problems.path, team)
        except Nowhere as error:
            yield Problem("problems.path", str(error))

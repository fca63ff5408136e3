"""Reproducing the experiment that a recipe ships: its arms and seeds as runs of a team.

The definition is that of `python -m trainer.experiments`, at most with fewer seeds. Where its runs
start from base students, these are trained first, one for each seed, and the runs of a seed are
queued as soon as theirs are ready.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from trainer.experiments import definition
from webapp.access.models import Team, User
from webapp.experiments import bases
from webapp.experiments.models import BaseStudent, Experiment, ExperimentRun
from webapp.library.models import StoredModel
from webapp.runs import lifecycle
from webapp.runs.models import Run

log = logging.getLogger(__name__)
Launch = ExperimentRun.Launch


def launch(team: Team, owner: User | None, name: str, seeds: Sequence[int]) -> Experiment:
    """Create the runs of the shipped experiment `name` with these of its seeds, as one unit.

    Raises KeyError if there is no such experiment, and SpecError if an arm's definition is invalid.
    """
    shipped = definition.load(name).with_seeds(seeds)
    for arm in shipped.arms:
        # Before anything is trained. Where the bases are makes no difference.
        shipped.located_definition(arm, seeds[0], lambda name, file: f"file:/{name}/{file}")
    with transaction.atomic():
        experiment = Experiment.objects.create(
            team=team,
            owner=owner,
            name=f"Reproduction: {shipped.title}"[:120],
            spec={},
            shipped=shipped.model_dump(mode="json"),
            arms=[{"name": arm.title, "changes": arm.changes} for arm in shipped.arms.values()],
            seeds=list(seeds),
        )
        # Seed by seed, so that one that is stopped early has whole seeds.
        for seed in seeds:
            needed = bases.request(team, shipped.bases, seed)
            for index in range(len(shipped.arms)):
                cell = ExperimentRun.objects.create(
                    experiment=experiment, arm=index, seed=seed, launch=Launch.WAITING
                )
                cell.waits_for.set(needed)
                if all(map(bases.is_ready, needed)):
                    queue_run(cell, owner)
    return experiment


def queue_run(cell: ExperimentRun, owner: User | None, parent: Run | None = None) -> Run:
    """Create and queue the run of an arm and seed whose bases are ready.

    Raises as `run_definition` does.
    """
    with transaction.atomic():
        run = lifecycle.create_run(cell.experiment.team, owner, run_definition(cell), parent=parent)
        cell.run, cell.launch = run, Launch.QUEUED
        cell.save(update_fields=["run", "launch"])
    return run


def run_definition(cell: ExperimentRun) -> dict[str, Any]:
    """Return the definition of a run of a shipped experiment.

    Raises NotReady, and ValueError if this version cannot read it.
    """
    shipped = shipped_definition(cell.experiment)
    needed = {base.name: base for base in cell.waits_for.select_related("model", "team")}
    return shipped.located_definition(
        list(shipped.arms)[cell.arm], cell.seed, bases.location(needed)
    )


def shipped_definition(experiment: Experiment) -> definition.Experiment:
    """Return the shipped definition of a reproduction.

    Raises ValueError if another version has written it and this one cannot read it.
    """
    return definition.Experiment.model_validate(experiment.shipped)


def wait_again(cell: ExperimentRun) -> bool:
    """Let the run of an arm and seed wait for its bases; False if they are ready."""
    needed = bases.request(
        cell.experiment.team, [base.name for base in cell.waits_for.all()], cell.seed
    )
    if all(map(bases.is_ready, needed)):
        return False
    cell.run, cell.launch = None, Launch.WAITING
    cell.save(update_fields=["run", "launch"])
    return True


def finish_base(base: BaseStudent, model: StoredModel, files: dict[str, str]) -> None:
    """Store what a worker has trained, and queue the runs that waited for it.

    Nothing changes if another worker has taken the base since.
    """
    with transaction.atomic():
        row = BaseStudent.objects.select_for_update().get(pk=base.pk)
        if row.claim != base.claim:
            return
        row.model, row.files, row.heartbeat_at, row.progress = model, files, None, ""
        row.save()
        for cell in _waiting_cells(row):
            if all(map(bases.is_ready, cell.waits_for.all())):
                _queue_or_fail(cell)


def fail_base(base: BaseStudent, problem: str) -> None:
    """Store why a base could not be trained; the runs that waited for it have failed."""
    with transaction.atomic():
        claimed = BaseStudent.objects.filter(pk=base.pk, claim=base.claim)
        if claimed.update(problem=problem, heartbeat_at=None, progress=""):
            base.cells.filter(launch=Launch.WAITING).update(launch=Launch.FAILED)


def stop_waiting(cells: Iterable[ExperimentRun]) -> int:
    """Let runs that wait for a base not be queued; return how many these were."""
    # A worker may be about to queue them: it holds the lock of the base, and locks these rows.
    waiting = ExperimentRun.objects.filter(pk__in=[cell.pk for cell in cells])
    return waiting.filter(launch=Launch.WAITING).update(launch=Launch.STOPPED)


def _waiting_cells(base: BaseStudent) -> list[ExperimentRun]:
    # Not the experiments: a page that deletes one may not wait for this.
    cells = base.cells.filter(launch=Launch.WAITING).select_for_update(of=("self",))
    return list(cells.select_related("experiment__team", "experiment__owner").order_by("pk"))


def _queue_or_fail(cell: ExperimentRun) -> None:
    try:
        queue_run(cell, cell.experiment.owner)
    except (ValueError, bases.NotReady) as error:
        # SpecError and ValidationError are ValueErrors.
        log.warning("a run of the experiment %s cannot be queued: %s", cell.experiment, error)
        cell.launch = Launch.FAILED
        cell.save(update_fields=["launch"])

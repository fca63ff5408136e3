"""Launching an experiment, and its runs again: all of it in one transaction."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from webapp.access.models import Team, User
from webapp.experiments import reproduction
from webapp.experiments.models import Experiment, ExperimentRun
from webapp.experiments.plan import Arm, Plan, run_definition
from webapp.runs import lifecycle
from webapp.runs.models import FINISHED, Run, State
from webapp.runs.transitions import TransitionRefused


def launch(
    team: Team,
    owner: User | None,
    definition: dict[str, Any],
    plan: Plan,
    parent: Run | None = None,
    memory_bytes: int | None = None,
) -> Experiment:
    """Create the experiment and queue its runs, seed by seed.

    In that order an experiment that is stopped early has whole seeds, in which all arms can be
    compared.
    """
    with transaction.atomic():
        experiment = Experiment.objects.create(
            team=team,
            owner=owner,
            name=definition["name"],
            spec=definition,
            arms=[{"name": arm.name, "changes": dict(arm.changes)} for arm in plan.arms],
            seeds=list(plan.seeds),
        )
        for planned in sorted(plan.runs, key=lambda run: (run.seed, run.arm)):
            run = lifecycle.create_run(
                team,
                owner,
                dict(planned.definition),
                parent=parent,
                tags=parent.tags if parent else (),
                memory_bytes=memory_bytes,
            )
            ExperimentRun.objects.create(
                experiment=experiment, arm=planned.arm, seed=planned.seed, run=run
            )
    return experiment


def repeat(cell: ExperimentRun, owner: User | None) -> Run | None:
    """Queue a new run of an arm and seed whose run failed, was stopped or deleted.

    None if it waits for its base students first. Raises TransitionRefused while it has a run that
    may still complete, and ValueError if this version cannot read its definition.
    """
    with transaction.atomic():
        cell = ExperimentRun.objects.select_for_update().get(pk=cell.pk)
        experiment, old = cell.experiment, cell.run
        if old and old.deleted_at:
            old = None
        if old and (old.state not in FINISHED or old.state == State.COMPLETED):
            raise TransitionRefused(
                f"“{old.name}” is {old.state}; only a run that failed, was stopped or deleted is "
                "carried out again."
            )
        if not old and cell.launch == ExperimentRun.Launch.WAITING:
            raise TransitionRefused("This run waits for its base student already.")
        if experiment.shipped is not None and reproduction.wait_again(cell):
            return None
        cell.run = lifecycle.create_run(
            experiment.team,
            owner,
            definition_of(cell),
            parent=old,
            memory_bytes=old.memory_bytes if old else None,
        )
        cell.launch = ExperimentRun.Launch.QUEUED
        cell.save(update_fields=["run", "launch"])
    return cell.run


def definition_of(cell: ExperimentRun) -> dict[str, Any]:
    """Return the definition of a run of an arm and seed.

    Raises ValueError if this version cannot read that of the experiment, and NotReady if a base
    student is not trained.
    """
    if cell.experiment.shipped is not None:
        return reproduction.run_definition(cell)
    if cell.run and not cell.run.deleted_at and cell.run.spec:
        definition: dict[str, Any] = cell.run.spec
        return definition
    experiment = cell.experiment
    return run_definition(experiment.spec, Arm(**experiment.arms[cell.arm]), cell.seed)


def stop(experiment: Experiment, actor: User | None) -> int:
    """Ask every run that has not ended to stop; return how many were asked.

    Those that wait for a base student are not queued any more.
    """
    # First, because a worker may queue them meanwhile.
    asked = reproduction.stop_waiting(experiment.runs.all())
    for run in Run.objects.filter(experimentrun__experiment=experiment, deleted_at=None):
        if run.state in FINISHED:
            continue
        try:
            lifecycle.request_stop(run, actor)
            asked += 1
        except TransitionRefused:
            # It ended meanwhile.
            continue
    return asked

"""The pages of experiments: the list, and one experiment with its arms, seeds and results."""

from __future__ import annotations

from contextlib import suppress

from django.contrib import messages
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from trainer.spec import load
from webapp.access import actors, permissions
from webapp.access.actors import Actor
from webapp.access.permissions import current_team
from webapp.definition import run_checks
from webapp.experiments import lifecycle
from webapp.experiments.bases import NotReady
from webapp.experiments.models import Experiment, ExperimentRun
from webapp.experiments.results import arm_results, bases_of, progress_of
from webapp.experiments.verdicts import verdicts_of
from webapp.pages.query_numbers import bigint
from webapp.runs.models import Run
from webapp.runs.transitions import TransitionRefused

MOST_LISTED = 200


@require_safe
def experiments(request: HttpRequest) -> HttpResponse:
    actor = actors.actor_of(request)
    listed = (
        permissions.visible(actor, Experiment)
        .filter(team=current_team(request))
        .select_related("owner")
        .defer("spec", "shipped")
        .prefetch_related(_cells(actor))
        .order_by("-created_at")[:MOST_LISTED]
    )
    rows = [{"experiment": each, "progress": progress_of(each.runs.all())} for each in listed]
    return render(request, "experiments/list.html", {"rows": rows})


@require_safe
def experiment(request: HttpRequest, experiment_id: str) -> HttpResponse:
    shown = _find(request, experiment_id)
    actor = actors.actor_of(request)
    cells = list(shown.runs.prefetch_related(_runs(actor), "waits_for"))
    run_ids = [cell.run.public_id for cell in cells if cell.run]
    context = {
        "experiment": shown,
        "progress": progress_of(cells),
        "arms": arm_results(shown, cells),
        "compare": f"{reverse('compare')}?runs={','.join(run_ids)}" if run_ids else "",
        "verdicts": verdicts_of(shown, cells),
        "bases": bases_of(cells),
        "may": {
            action: permissions.may(actor, action, shown) for action in ("edit", "start", "stop")
        },
    }
    return render(request, "experiments/experiment.html", context)


@require_POST
def stop(request: HttpRequest, experiment_id: str) -> HttpResponse:
    stopped = _find(request, experiment_id, "stop")
    asked = lifecycle.stop(stopped, actors.actor_of(request).user)
    noun = "run was" if asked == 1 else "runs were"
    messages.info(request, f"{asked} {noun} asked to stop." if asked else "Every run has ended.")
    return redirect("experiment", stopped.public_id)


@require_POST
def repeat(request: HttpRequest, experiment_id: str) -> HttpResponse:
    """Carry out the run of one arm and seed again."""
    shown = _find(request, experiment_id, "start")
    actor = actors.actor_of(request)
    number = bigint(request.POST.get("cell", "")) or 0
    cell = permissions.visible(actor, ExperimentRun).filter(experiment=shown, pk=number).first()
    if cell is None:
        messages.error(request, "The experiment has no such run.")
        return redirect("experiment", shown.public_id)
    try:
        # The training set may have been held out since.
        with suppress(NotReady):
            spec = load(lifecycle.definition_of(cell))
            if refusal := run_checks.held_out_refusal(spec, shown.team):
                raise TransitionRefused(refusal)
        run = lifecycle.repeat(cell, actor.user)
    # SpecError is a ValueError, and so is that of a shipped definition of another version.
    except (TransitionRefused, ValueError) as error:
        messages.error(request, str(error))
    else:
        name = f"“{run.name}” is queued." if run else "The run is queued after its base student."
        messages.success(request, name)
    return redirect("experiment", shown.public_id)


@require_POST
def delete(request: HttpRequest, experiment_id: str) -> HttpResponse:
    """Delete the experiment; its runs stay."""
    deleted = _find(request, experiment_id, "edit")
    deleted.delete()
    messages.success(request, f"The experiment “{deleted.name}” was deleted. Its runs are kept.")
    return redirect(reverse("experiments"))


def _find(
    request: HttpRequest, experiment_id: str, action: permissions.Action = "view"
) -> Experiment:
    return permissions.find(actors.actor_of(request), action, Experiment, public_id=experiment_id)


def _cells(actor: Actor) -> Prefetch[str]:
    """The arms and seeds with the states of their runs, which may be 20,000 on the list."""
    states = Prefetch("run", queryset=permissions.visible(actor, Run).only("state"))
    cells = permissions.visible(actor, ExperimentRun).prefetch_related(states)
    return Prefetch("runs", queryset=cells)


def _runs(actor: Actor) -> Prefetch[str]:
    """The runs without what is large and not shown."""
    return Prefetch("run", queryset=permissions.visible(actor, Run).defer("spec", "notes"))

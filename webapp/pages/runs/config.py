"""The Config tab: the definition of a run, its data and its environment."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from trainer import plain_yaml, spec
from webapp.access import permissions
from webapp.access.actors import actor_of
from webapp.clients.masking import masked
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.pages.runs.tabs import origin_of
from webapp.runs.models import Run, RunIndex
from webapp.runs.problem_texts import problem_sets

# Rows of the parameter table: a client may log any number of parameters.
MAX_PARAMS = 2000
FACTS = ("python", "platform", "device", "commit")


@permissions.shown_to_guests
@require_safe
def config(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    event = run.events.filter(type="environment").order_by("attempt", "seq").last()
    environment = event.payload if event else {}
    origin = origin_of(run)
    # A parent that the person cannot see is not named.
    parent = (
        permissions.visible(actor_of(request), Run).filter(pk=run.parent_id).first()
        if run.parent_id
        else None
    )
    # Names that start with an underscore are the client's own bookkeeping. Secrets are masked when
    # they come in; runs of earlier versions may have some.
    params = [
        (name, value)
        for name, value in masked(origin.params if origin else {}).items()
        if not name.startswith("_")
    ]
    context = {
        "yaml": to_yaml(run),
        "problem_sets": problem_sets(run),
        "environment": environment,
        "environment_facts": [(name, environment[name]) for name in FACTS if environment.get(name)],
        "parent": parent,
        "params": params[:MAX_PARAMS],
        "tags": masked(origin.tags) if origin else {},
        "params_left_out": max(0, len(params) - MAX_PARAMS),
        "search_index": permissions.visible(actor_of(request), RunIndex).filter(run=run).first(),
    }
    return render_tab(request, run, "config", "config.html", context)


@permissions.shown_to_guests
@require_safe
def config_yaml(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    response = HttpResponse(to_yaml(run), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{run.public_id}.yaml"'
    return response


def to_yaml(run: Run) -> str:
    """Return the definition of a run as YAML, with defaults filled in; empty if it has none.

    A definition that this version cannot read is returned as it is stored.
    """
    if run.spec is None:
        return ""
    try:
        return spec.to_yaml(spec.load(run.spec))
    except spec.SpecError:
        return plain_yaml.dump(run.spec)

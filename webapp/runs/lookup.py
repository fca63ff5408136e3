"""Finding the run that a request is about."""

from __future__ import annotations

from django.http import Http404

from webapp.access import access
from webapp.access.access import Action
from webapp.access.actors import Actor
from webapp.runs.models import Run

# Written by hand, because every page of a run asks it: building the query costs more than it.
RUN = "SELECT {fields} FROM runs_run WHERE public_id = %s"


def find_run(actor: Actor, action: Action, public_id: str) -> Run:
    """The run of that public id, if the actor may do `action` to it. Raises as `require` does."""
    if "\0" in public_id:
        raise Http404("no name holds a NUL character")  # Postgres would refuse the query
    fields = ", ".join(field.attname for field in Run._meta.concrete_fields)
    run = next(iter(Run.objects.raw(RUN.format(fields=fields), [public_id])), None)
    return access.require(actor, action, run)

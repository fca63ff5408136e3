"""The run that a request is about, and the error that says that it was deleted."""

from __future__ import annotations

from django.http import Http404

from webapp.access import permissions
from webapp.access.actors import Actor
from webapp.access.permissions import Action
from webapp.runs.models import Run

# Raw SQL, because every page of a run needs it: building the query by the ORM takes longer than
# executing it.
RUN_QUERY = "SELECT {fields} FROM runs_run WHERE public_id = %s"


class RunDeleted(Http404):
    """The run was deleted, and the actor may restore it."""

    def __init__(self, run: Run) -> None:
        super().__init__("deleted")
        self.run = run


def find_run(actor: Actor, action: Action, public_id: str) -> Run:
    """Return the run with this public id. Raises as `permissions.require` does, and RunDeleted."""
    if "\0" in public_id:
        # Postgres would refuse the query.
        raise Http404("no name holds a NUL character")
    fields = ", ".join(field.attname for field in Run._meta.concrete_fields)
    run = next(iter(Run.objects.raw(RUN_QUERY.format(fields=fields), [public_id])), None)
    if run is not None and run.deleted_at is not None:
        may_restore = permissions.deleted(actor, Run).filter(pk=run.pk).exists()
        raise RunDeleted(run) if may_restore else Http404("deleted")
    return permissions.require(actor, action, run)

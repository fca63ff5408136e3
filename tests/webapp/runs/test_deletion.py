"""A deleted run exists for nobody, comes back by an undo, and is removed for good after a day."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone

from tests.webapp.recorded import recorded
from webapp.access import permissions, registry
from webapp.access.actors import Actor
from webapp.access.models import Role, Team, User
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs import branches, deletion, edits, leases, lifecycle
from webapp.runs.edits import EditRefused
from webapp.runs.models import Checkpoint, Event, Run, RunIndex, RunValue, State
from webapp.runs.transitions import TransitionRefused
from webapp.sharing import links

pytestmark = pytest.mark.django_db


def ended(run: Run, state: State = State.FAILED) -> Run:
    Run.objects.filter(pk=run.pk).update(state=state)
    run.refresh_from_db()
    return run


def deleted(run: Run, actor: User | None = None) -> Run:
    edits.carry_out_one(deletion.delete(actor), run, actor)
    run.refresh_from_db()
    return run


def restored(run: Run) -> Run:
    edits.carry_out(deletion.undelete(), Run.objects.filter(pk=run.pk), None)
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.STOPPING])
def test_a_run_that_may_be_active_is_not_deleted(run: Run, state: State) -> None:
    with pytest.raises(EditRefused, match="Stop this run before you delete it"):
        deleted(ended(run, state))
    assert Run.objects.get().deleted_at is None


def test_a_run_that_its_client_logs_is_not_deleted_until_it_is_silent(still: Team) -> None:
    run = lifecycle.create_run(
        still, None, None, source=Run.Source.CLIENT, state=State.RUNNING, name="logged"
    )
    now = timezone.now()
    Run.objects.update(last_event_at=now)
    with pytest.raises(EditRefused, match="Its client is logging"):
        deleted(run)
    Run.objects.update(last_event_at=now - timedelta(minutes=6))
    assert deleted(run).deleted_at is not None


def test_a_deleted_run_and_what_belongs_to_it_is_visible_to_nobody(
    still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    admin = Actor(alice, {still.pk: Role.ADMIN}, still)
    guest = Actor(guest_runs=frozenset({run.pk}))
    event = Event.objects.filter(run=run).latest("pk")
    checkpoint_uri = f"checkpoint:{run.public_id}@30"
    assert permissions.may(guest, "view", event)
    assert branches.checkpoint_of(checkpoint_uri, still) is not None
    deleted(run, alice)
    # Read again: rows of the same run that are in memory know nothing of the deletion.
    event = Event.objects.get(pk=event.pk)
    for actor in (admin, guest):
        for model in (Run, Event, Checkpoint):
            assert not permissions.visible(actor, model).exists(), model
        assert not permissions.may(actor, "view", run) and not permissions.may(actor, "view", event)
    assert branches.checkpoint_of(checkpoint_uri, still) is None
    assert permissions.may(admin, "edit", restored(run))


def test_only_who_may_edit_the_run_may_restore_it(
    run: Run, still: Team, alice: User, bob: User, charlie: User
) -> None:
    deleted(ended(run))
    other = Team.objects.get(slug="other")
    for user, roles, count in (
        (alice, {still.pk: Role.EDITOR}, 1),
        (bob, {still.pk: Role.VIEWER}, 0),
        (charlie, {other.pk: Role.ADMIN}, 0),
    ):
        assert permissions.deleted(Actor(user, roles), Run).count() == count
    assert not permissions.deleted(Actor(guest_runs=frozenset({run.pk})), Run).exists()


# Read beside visible runs only; or the arms and seeds of an experiment, which stay without their
# runs.
READ_WITH_RUNS = {"RunValue", "RunIndex", "ExperimentRun"}


def test_every_model_of_a_run_says_where_its_deletion_is() -> None:
    """Else a new model would show what belongs to a deleted run."""
    for model in apps.get_models():
        fields = [field for field in model._meta.concrete_fields if field.related_model is Run]
        try:
            ownership = registry.ownership_of(model)
        except registry.NotRegistered:
            continue
        if fields and model is not Run and model.__name__ not in READ_WITH_RUNS:
            assert ownership.deleted == f"{fields[0].name}__deleted_at", model
    assert registry.ownership_of(Run).deleted == "deleted_at"


def test_a_share_link_is_closed_while_the_run_is_deleted(
    run: Run, alice: User, client: Client
) -> None:
    token = links.share(ended(run), alice, timedelta(days=1))
    assert client.get(f"/s/{token}/", follow=True).status_code == 200
    deleted(run)
    assert client.get(f"/s/{token}/").status_code == 410
    # Not even with the session that came in by the link before.
    assert client.get(f"/runs/{run.public_id}/").status_code in (302, 404)
    restored(run)
    assert client.get(f"/runs/{run.public_id}/").status_code == 200


def test_the_state_of_a_deleted_run_does_not_change(run: Run) -> None:
    """Somebody resumes it at the moment in which somebody else deletes it."""
    known = ended(run)
    deleted(Run.objects.get())
    with pytest.raises(TransitionRefused):
        lifecycle.resume(known)
    assert Run.objects.get().state == State.FAILED and leases.claim(run.pk, "host-a") is None


def test_a_run_is_removed_with_its_files_a_day_after_its_deletion(
    still: Team, alice: User, tmp_path: Path
) -> None:
    kept, gone = (recorded(still, alice, tmp_path / name) for name in ("kept", "gone"))
    own = artifacts.put(_file(tmp_path / "own"), still)
    Checkpoint.objects.filter(run=gone).update(
        manifest={"own": {"sha256": own.sha256, "size": own.size}}
    )
    deleted(gone)
    assert deletion.remove_expired() == 0
    assert own.sha256 in lifecycle.referenced_artifacts(still.pk)
    Run.objects.filter(pk=gone.pk).update(deleted_at=timezone.now() - timedelta(hours=25))
    assert deletion.remove_expired() == 1
    assert list(Run.objects.all()) == [kept]
    assert {pk for (pk,) in RunValue.objects.values_list("run").distinct()} == {kept.pk}
    assert list(RunIndex.objects.values_list("run", flat=True)) == [kept.pk]
    artifacts.collect(grace=timedelta(0))
    # The files of both runs are the same but this one.
    hashes = set(Artifact.objects.values_list("sha256", flat=True))
    assert own.sha256 not in hashes
    assert lifecycle.referenced_artifacts(still.pk) <= hashes


def test_what_goes_is_counted(still: Team, alice: User, tmp_path: Path) -> None:
    run = recorded(still, alice, tmp_path)
    empty = lifecycle.create_run(still, alice, run.spec)
    contents = deletion.contents_of(Run.objects.all())
    checkpoints = run.checkpoints.all()
    assert contents.checkpoints == len(checkpoints) > 0
    assert contents.checkpoint_bytes == sum(checkpoint.size for checkpoint in checkpoints)
    assert contents.rollouts == run.rollouts.count() > 0
    files = {event.payload["file"]["sha256"] for event in run.events.filter(type="rollouts")}
    assert contents.rollout_bytes == sum(
        Artifact.objects.get(sha256=sha256).size for sha256 in files
    )
    assert contents.checkpoints_of == {run.pk: len(checkpoints)}
    assert deletion.contents_of(Run.objects.filter(pk=empty.pk)).rollouts == 0


def _file(path: Path) -> Path:
    path.write_bytes(b"only this run's")
    return path

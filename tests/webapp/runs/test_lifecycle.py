"""Who may change a run, and when: claims, fences, stops, resumes."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from webapp.access.models import Team, User
from webapp.runs import leases, lifecycle
from webapp.runs.models import Attempt, Run, State, Transition
from webapp.runs.transitions import TransitionRefused

pytestmark = pytest.mark.django_db


def running(run: Run) -> Run:
    leases.claim(run.pk, "host-a")
    Run.objects.filter(pk=run.pk).update(state=State.RUNNING)
    run.refresh_from_db()
    return run


def ended(run: Run, state: State = State.FAILED) -> Run:
    running(run)
    assert leases.finish(run.pk, run.attempt, state, "It broke.", "Mend it.")
    run.refresh_from_db()
    return run


def test_a_new_run_is_queued_with_a_summary_of_its_definition(run: Run) -> None:
    assert (run.state, run.name, run.recipe, run.total_steps) == (
        State.QUEUED,
        "first distillation",
        "paced",
        100,
    )
    assert run.summary == {"student": "student", "teacher": "teacher"}


def test_a_claim_starts_an_attempt(run: Run) -> None:
    attempt = leases.claim(run.pk, "host-a")
    run.refresh_from_db()
    assert attempt is not None
    assert (attempt.number, run.attempt, run.state, run.lease_holder) == (
        1,
        1,
        State.STARTING,
        "host-a",
    )


def test_a_run_is_claimed_once(run: Run) -> None:
    assert leases.claim(run.pk, "host-a") is not None
    assert leases.claim(run.pk, "host-b") is None


@pytest.mark.django_db(transaction=True)
def test_of_many_parallel_claims_one_succeeds(run: Run) -> None:
    won: list[Attempt | None] = []
    start = threading.Barrier(6)

    def claim(holder: str) -> None:
        start.wait()
        won.append(leases.claim(run.pk, holder))
        connections.close_all()

    threads = [threading.Thread(target=claim, args=[f"host-{i}"]) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(attempt is not None for attempt in won) == 1
    assert Attempt.objects.filter(run=run).count() == 1


def test_a_heartbeat_under_an_older_number_is_refused(run: Run) -> None:
    ended(run)
    lifecycle.resume(run)
    leases.claim(run.pk, "host-b")
    assert not leases.renew(run.pk, 1, "host-a")
    assert leases.renew(run.pk, 2, "host-b")


def test_an_older_attempt_cannot_end_a_newer_one(run: Run) -> None:
    running(run)
    assert leases.requeue(run.pk, 1, "Its machine is gone.")
    leases.claim(run.pk, "host-b")
    assert not leases.finish(run.pk, 1, State.FAILED, "too late")
    run.refresh_from_db()
    assert (run.state, run.reason) == (State.STARTING, "")
    assert Attempt.objects.get(run=run, number=1).finished_at is not None


def test_an_attempt_ends_once(run: Run) -> None:
    ended(run, State.COMPLETED)
    assert not leases.finish(run.pk, 1, State.FAILED, "again")
    run.refresh_from_db()
    assert (run.state, run.reason, run.remedy) == (State.COMPLETED, "It broke.", "Mend it.")


def test_a_stop_is_first_requested_and_then_forced(run: Run, alice: User) -> None:
    running(run)
    lifecycle.request_stop(run, alice)
    assert (run.state, run.force_requested_at) == (State.STOPPING, None)
    lifecycle.request_stop(run, alice, force=True)
    assert run.force_requested_at is not None


def test_a_queued_run_stops_immediately(run: Run, alice: User) -> None:
    lifecycle.request_stop(run, alice)
    assert run.state == State.STOPPED
    assert leases.claim(run.pk, "host-a") is None


def test_an_ended_run_cannot_be_stopped(run: Run, alice: User) -> None:
    ended(run)
    with pytest.raises(TransitionRefused, match="failed already"):
        lifecycle.request_stop(run, alice)


def test_an_active_or_completed_run_cannot_be_resumed(run: Run) -> None:
    running(run)
    with pytest.raises(TransitionRefused, match="only a paused, stopped or failed run"):
        lifecycle.resume(run)
    leases.finish(run.pk, 1, State.COMPLETED)
    with pytest.raises(TransitionRefused, match="completed"):
        lifecycle.resume(run)


def test_a_resumed_run_is_queued_without_its_old_outcome(run: Run) -> None:
    lifecycle.resume(ended(run))
    assert (run.state, run.reason, run.remedy, run.stop_requested_at, run.finished_at) == (
        State.QUEUED,
        "",
        "",
        None,
        None,
    )


def test_a_stop_for_a_restart_is_remembered_until_the_run_is_resumed(run: Run) -> None:
    running(run)
    lifecycle.request_stop(run, resume_after_restart=True)
    leases.finish(run.pk, 1, State.STOPPED)
    assert list(Run.objects.filter(resume_after_restart=True)) == [run]
    run.refresh_from_db()
    lifecycle.resume(run)
    assert not Run.objects.filter(resume_after_restart=True).exists()


def test_a_restart_does_not_undo_a_persons_stop(run: Run, alice: User) -> None:
    running(run)
    lifecycle.request_stop(run, alice)
    lifecycle.request_stop(run, force=True, resume_after_restart=True)
    assert not run.resume_after_restart


def test_a_run_whose_worker_sends_no_heartbeat_is_orphaned(run: Run) -> None:
    running(run)
    lease = timedelta(seconds=30)
    assert not leases.expired_runs(lease).exists()
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - 2 * lease)
    assert list(leases.expired_runs(lease)) == [run]


def test_an_orphaned_run_with_a_stop_request_is_stopped_not_queued(run: Run, alice: User) -> None:
    running(run)
    lifecycle.request_stop(run, alice)
    assert leases.requeue(run.pk, 1, "Its machine is gone.")
    run.refresh_from_db()
    assert run.state == State.STOPPED


def test_a_clone_is_a_new_run_with_a_parent(run: Run, still: Team, bob: User) -> None:
    copy = lifecycle.clone(run, still, bob)
    assert (copy.spec, copy.parent, copy.owner, copy.state) == (run.spec, run, bob, State.QUEUED)


def test_an_imported_run_without_definition_cannot_be_resumed_or_cloned(
    still: Team, alice: User
) -> None:
    imported = lifecycle.create_run(
        still, alice, None, name="from afar", source=Run.Source.IMPORTED, state=State.FAILED
    )
    for attempt in (
        lambda: lifecycle.resume(imported),
        lambda: lifecycle.clone(imported, still, alice),
    ):
        with pytest.raises(TransitionRefused, match="recorded elsewhere"):
            attempt()


def test_every_change_is_recorded_and_counted_as_a_batch(run: Run, alice: User) -> None:
    running(run)
    lifecycle.request_stop(run, alice)
    leases.finish(run.pk, 1, State.STOPPED, "Stopped on request.")
    run.refresh_from_db()
    assert list(
        Transition.objects.filter(run=run).order_by("pk").values_list("state", flat=True)
    ) == [
        "queued",
        "starting",
        "stopping",
        "stopped",
    ]
    assert run.batch_count == 3


def test_a_pause_releases_the_devices_until_the_run_is_resumed(run: Run, alice: User) -> None:
    lifecycle.pause(running(run), alice)
    assert (run.state, run.after_stop) == (State.STOPPING, State.PAUSED)
    leases.finish(run.pk, 1, State.STOPPED, "Stopped on request.")
    run.refresh_from_db()
    assert run.state == State.PAUSED and leases.claim(run.pk, "host-b") is None
    lifecycle.resume(run, alice)
    assert (run.state, run.after_stop, run.stop_requested_at) == (State.QUEUED, State.STOPPED, None)


def test_a_waiting_run_is_paused_and_a_paused_one_cancelled_immediately(
    run: Run, alice: User
) -> None:
    assert lifecycle.pause(run, alice).state == State.PAUSED
    with pytest.raises(TransitionRefused, match="is paused, so it cannot be paused"):
        lifecycle.pause(run, alice)
    assert lifecycle.request_stop(run, alice).state == State.STOPPED


def test_a_restart_does_not_undo_a_pause(run: Run, alice: User) -> None:
    lifecycle.pause(running(run), alice)
    lifecycle.request_stop(run, force=True, resume_after_restart=True)
    leases.finish(run.pk, 1, State.STOPPED)
    run.refresh_from_db()
    assert (run.state, run.resume_after_restart) == (State.PAUSED, False)


def test_a_moved_run_is_queued_at_its_old_position(run: Run) -> None:
    since = running(run).queued_at
    assert lifecycle.reschedule(run, "host-a is being drained.")
    assert leases.finish(run.pk, 1, State.STOPPED, "Stopped on request.")
    run.refresh_from_db()
    assert (run.state, run.restarts, run.queued_at, run.stop_requested_at) == (
        State.QUEUED,
        0,
        since,
        None,
    )


def test_a_run_is_restarted_up_to_its_limit_and_then_fails_with_a_reason(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(max_restarts=2)
    for attempt in (1, 2):
        leases.claim(run.pk, "host-a")
        assert leases.requeue(run.pk, attempt, "Its machine is gone.")
    leases.claim(run.pk, "host-a")
    assert leases.requeue(run.pk, 3, "Its machine is gone.")
    run.refresh_from_db()
    assert run.state == State.FAILED and run.reason.startswith(
        "Its machine is gone. It was restarted automatically 2 times"
    )
    lifecycle.resume(run)
    assert run.restarts == 0


def test_a_machine_that_returns_in_time_keeps_its_run(run: Run) -> None:
    running(run)
    leases.requeue(run.pk, 1, "host-a was lost.")
    assert leases.renew(run.pk, 1, "host-a")
    run.refresh_from_db()
    assert (run.state, run.attempt, run.lease_holder, run.restarts) == (
        State.RUNNING,
        1,
        "host-a",
        0,
    )
    assert leases.claim(run.pk, "host-b") is None


def test_only_the_run_of_a_silent_machine_is_queued_again(run: Run) -> None:
    running(run)
    lease = timedelta(seconds=30)
    assert not leases.expire(run.pk, 1, lease, "host-a was lost.")
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - 2 * lease)
    assert not leases.expire(run.pk, 2, lease, "host-a was lost.")
    assert leases.expire(run.pk, 1, lease, "host-a was lost.")
    run.refresh_from_db()
    assert run.state == State.QUEUED

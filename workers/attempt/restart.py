"""Stops this host's runs and resumes them at the next start."""

from __future__ import annotations

import contextlib
import sys
import time

from django.db.models import QuerySet

from webapp.runs import leases, lifecycle, transitions
from webapp.runs.models import ACTIVE, Run
from workers.attempt.supervisor_start import start_supervisor
from workers.machine import host

FORCED_SECONDS = 10.0
POLL_SECONDS = 0.2


def stop_all(timeout: float) -> None:
    """Ask every trainer here for a checkpoint and wait; kill those left after `timeout` seconds."""
    wait_for_end(timeout, force=False)
    for run in active_here():
        say(
            f"{run.name} did not stop in {timeout:.0f} s and is ended by force; "
            "it will resume from its last checkpoint."
        )
    wait_for_end(FORCED_SECONDS, force=True)


def wait_for_end(timeout: float, force: bool) -> None:
    stopping: set[int] = set()
    deadline = time.monotonic() + timeout
    while (runs := list(active_here())) and time.monotonic() < deadline:
        for run in runs:
            if run.pk not in stopping:
                stopping.add(run.pk)
                say(f"Stopping {run.name} …")
                lifecycle.request_stop(run, force=force, resume_after_restart=True)
                # The request reaches the trainer through its supervisor, which may have died.
                start_supervisor(run.public_id, run.attempt)
        time.sleep(POLL_SECONDS)


def resume_all() -> None:
    """Queue the runs again that `stop_all` has stopped here."""
    for run in leases.runs_on_machine(host.name()).filter(resume_after_restart=True):
        # It is refused if another machine of the run has resumed it first.
        with contextlib.suppress(transitions.TransitionRefused):
            lifecycle.resume(run, reason="Stillroom was stopped and started again.")
            say(f"Resuming {run.name}.")


def active_here() -> QuerySet[Run]:
    return leases.runs_on_machine(host.name()).filter(state__in=ACTIVE)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)

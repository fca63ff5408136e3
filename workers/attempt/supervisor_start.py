"""Starts supervisors: at most one per attempt on a host, however many ask for it."""

from __future__ import annotations

import logging
import time

from trainer.events import LogReader
from webapp.base import logs
from webapp.nodes.allocation_keys import attempt_key
from webapp.runs.models import Attempt
from workers.attempt.member_supervisor import MemberSupervisor
from workers.attempt.members import AttemptMembers
from workers.attempt.supervisor import Supervisor
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.detached import start_detached
from workers.machine import allocation, host

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2


def start_supervisor(public_id: str, attempt: int) -> bool:
    """Start a detached supervisor; return False if the attempt already has one on this host."""
    folder = host.attempt_folder(public_id, attempt)
    return start_detached(folder, "supervisor", "supervise", public_id, str(attempt))


def supervise(public_id: str, number: int) -> None:
    """Execute the attempt, or this machine's part of it, to its end.

    Only `start_supervisor` starts this, in a process that holds the attempt's lock.
    """
    folder = host.attempt_folder(public_id, number)
    attempts = Attempt.objects.select_related("run__team")
    attempt = retry_on_outage(attempts.filter(run__public_id=public_id, number=number).first)
    if attempt is None:
        log.warning("run %s has no attempt %d any more", public_id, number)
        process = TrainerProcess(folder)
        process.kill()
        while not process.ended():
            time.sleep(POLL_SECONDS)
        process.remove_leftovers()
        retry_on_outage(lambda: allocation.release(attempt_key(public_id, number), host.name()))
        return
    members = retry_on_outage(lambda: AttemptMembers(attempt))
    member = next((row for row in members.members if row.host == host.name()), None)
    process = TrainerProcess(folder)
    with logs.log_context(run=public_id, attempt=number):
        if member is not None:
            MemberSupervisor(attempt.run, attempt, member, process).execute()
        else:
            # From the last event in Postgres, whichever supervisor has recorded it.
            reader = LogReader(folder / "events", attempt.last_seq)
            Supervisor(attempt.run, attempt, process, reader, members).execute()

"""Starting supervisors: one per attempt on a host, whoever asks."""

from __future__ import annotations

import fcntl
import logging
import subprocess
import sys

from trainer.events import LogReader
from webapp.base import logs
from webapp.nodes.holders import holder_of
from webapp.runs.models import Attempt
from workers.attempt.member_supervisor import MemberSupervisor
from workers.attempt.members import Party
from workers.attempt.supervisor import Supervisor
from workers.attempt.trainer_process import REPOSITORY, TrainerProcess
from workers.machine import allocation, host
from workers.retry import persist

log = logging.getLogger(__name__)


def start_supervisor(public_id: str, attempt: int) -> bool:
    """Start a detached supervisor; False if the attempt has one on this host.

    The lock is taken here and inherited by the supervisor, so it is held without a gap until that
    process dies.
    """
    folder = host.attempt_folder(public_id, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "workers", "supervise", public_id, str(attempt)]
    with (
        (folder / "supervisor.lock").open("ab") as lock,
        (folder / "supervisor.log").open("ab") as output,
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        keep = [lock.fileno()]
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=keep,
        )
    return True


def supervise(public_id: str, number: int) -> None:
    """Carry the attempt, or this machine's part of it, to its end.

    Only `start_supervisor` runs this, in a process that holds the attempt's lock.
    """
    folder = host.attempt_folder(public_id, number)
    attempt = persist(
        lambda: (
            Attempt.objects.select_related("run__team")
            .filter(run__public_id=public_id, number=number)
            .first()
        )
    )
    if attempt is None:
        log.warning("run %s has no attempt %d any more", public_id, number)
        TrainerProcess(folder).kill()
        persist(lambda: allocation.release(holder_of(public_id, number), host.name()))
        return
    party = persist(lambda: Party(attempt))
    part = next((one for one in party.others if one.host == host.name()), None)
    with logs.about(run=public_id, attempt=number):
        if part is not None:
            MemberSupervisor(attempt.run, attempt, part, TrainerProcess(folder)).carry_out()
        else:
            Supervisor(
                attempt.run,
                attempt,
                TrainerProcess(folder),
                LogReader(folder / "events", attempt.last_seq),
                party,
            ).carry_out()

"""Starting supervisors: one per attempt on a host, whoever asks."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.engine.events import Reader
from webapp.runs.models import Attempt
from workers import host
from workers.persistence import persist
from workers.supervisor import Supervisor
from workers.trainer_process import REPOSITORY, TrainerProcess

log = logging.getLogger(__name__)


def start_supervisor(public_id: str, attempt: int) -> None:
    """Start a detached supervisor. If one is at work already, the new one sees that and leaves."""
    folder = host.attempt_folder(public_id, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "supervisor.log").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "workers", "supervise", public_id, str(attempt)],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def supervise(public_id: str, number: int) -> None:
    """Carry the attempt to its end, unless another supervisor on this host is doing so."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = host.attempt_folder(public_id, number)
    with only_one(folder / "supervisor.lock") as alone:
        if not alone:
            return
        attempt = persist(lambda: Attempt.objects.select_related("run__team").filter(run__public_id=public_id, number=number).first())
        if attempt is None:
            log.warning("run %s has no attempt %d any more", public_id, number)
            return
        Supervisor(attempt.run, attempt, TrainerProcess(folder), Reader(folder / "events", attempt.last_seq)).carry_out()


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Hold `path` as a lock that the system releases when this process dies; False if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)

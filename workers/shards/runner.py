"""The runner of one copy of a part of a job: it starts or adopts the trainer and stores its result.

    python -m workers carry-shard COPY

It runs in a session of its own, so it outlives the Celery worker that started it. If it dies, the
sweep starts another one, which finds the trainer by pid and start time and continues. The device is
released whatever happens; if the runner cannot do so, the sweep does.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from trainer.exit_codes import ExitCode
from trainer.text.jobs.tallies import tally
from webapp.base import celery_client
from webapp.jobs import lifecycle
from webapp.jobs.models import Copy, Outcome, Shard
from webapp.library import artifacts
from webapp.library.models import Artifact
from workers.attempt import exit_text
from workers.attempt.preparation import PreparationError
from workers.attempt.trainer_process import TrainerProcess, secret_variables
from workers.database import retry_on_outage
from workers.lease import Lease, LeaseLost
from workers.machine import allocation
from workers.shards import placement
from workers.shards.preparation import prepare

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
# With these codes the trainer's last line of output is the reason.
EXPLAINED_CODES = (ExitCode.REFUSED, ExitCode.FAILED, ExitCode.DISK_FULL)
RESULT, PARTIAL_RESULT = "result.jsonl", "result.jsonl.part"


def execute(copy_id: int) -> None:
    """Execute the copy to its end.

    Only `placement.start_runner` starts this, in a process that holds the copy's lock.
    """
    copies = Copy.objects.select_related("shard__job__team").filter(pk=copy_id, ended_at=None)
    copy = retry_on_outage(copies.first)
    if copy is None:
        return
    process = TrainerProcess(placement.folder_of(copy))
    try:
        if process.started() or _start(copy, process):
            _follow(copy, process)
    finally:
        process.remove_leftovers()
        retry_on_outage(lambda: allocation.release(copy.allocation_key))
        # The free device can take the next part at once.
        celery_client.wake_jobs()


def _start(copy: Copy, process: TrainerProcess) -> bool:
    """Start the trainer on the copy's device; return False if it cannot, which fails the job."""
    devices = retry_on_outage(lambda: allocation.allocated_here(copy.allocation_key))
    try:
        arguments = prepare(copy, process.folder, process.folder / RESULT)
        secret = secret_variables(copy.shard.job.spec["model"].get("key"))
        process.start(arguments, allocation.device_environment(devices) | secret)
    except PreparationError as error:
        reason = str(error)
        retry_on_outage(lambda: lifecycle.fail(copy, reason, for_good=True))
        return False
    return True


def _follow(copy: Copy, process: TrainerProcess) -> None:
    """Renew the copy's lease until the trainer has ended, or its result is not needed any more."""
    partial_result = process.folder / PARTIAL_RESULT
    lease = Lease(lambda: lifecycle.heartbeat(copy, _count_lines(partial_result)))
    try:
        while not process.ended():
            lease.renew_if_due()
            time.sleep(POLL_SECONDS)
    except LeaseLost:
        process.kill()
        # Only then is the device free.
        while process.pid() is not None:
            time.sleep(POLL_SECONDS)
        retry_on_outage(lambda: _end_unneeded(copy))
        return
    _conclude(copy, process)


def _end_unneeded(copy: Copy) -> None:
    done = Shard.objects.filter(pk=copy.shard_id).exclude(result=None).exists()
    lifecycle.end_copy(copy, Outcome.LATE if done else Outcome.STOPPED)


def _conclude(copy: Copy, process: TrainerProcess) -> None:
    exit = process.exit()
    code = exit["code"] if exit else None
    if code == ExitCode.COMPLETED:
        retry_on_outage(lambda: store_result(copy, process.folder / RESULT))
        return
    output = process.output()
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if lines and code in EXPLAINED_CODES:
        reason = lines[-1]
    else:
        reason = exit_text.explain(exit, None, output, stop_requested=False).reason
    # Another copy would be refused for the same reason, so the job fails at once.
    retry_on_outage(lambda: lifecycle.fail(copy, reason, for_good=code == ExitCode.REFUSED))


def store_result(copy: Copy, result: Path) -> bool:
    """Store the result and complete the part with it; return False if another copy was first.

    Safe to repeat.
    """
    with result.open(encoding="utf-8") as file:
        counts = tally(map(json.loads, file)).to_json()
    artifact: Artifact = artifacts.put(result, copy.shard.job.team, "application/jsonl")
    won = lifecycle.complete(copy, artifact, counts)
    # Also if another copy was first: its runner may have died between the two steps.
    placement.complete_job(copy.shard.job_id)
    return won


def _count_lines(path: Path) -> int:
    """Return how many problems the trainer has answered so far."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0

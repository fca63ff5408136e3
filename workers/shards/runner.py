"""The runner of one copy of a part: it starts the trainer or adopts one that runs, shows that it
lives, and hands the answer in.

    python -m workers carry-shard COPY

It runs in a session of its own, so it outlives the Celery worker that started it. If it dies, the
sweep starts another, which finds the trainer by pid and start time and goes on. The device is given
back whatever happens; if nobody is left to do so, the sweep does.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from trainer import exit_codes
from trainer.text.jobs.tallies import tally
from webapp.base import celery_client
from webapp.jobs import lifecycle
from webapp.jobs.models import Copy, Outcome, Shard
from webapp.library import artifacts
from webapp.library.models import Artifact
from workers.attempt import exit_text
from workers.attempt.preparation import Unresolved
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import allocation, host
from workers.retry import persist
from workers.shards import placement
from workers.shards.preparation import prepare

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
SPEAKING = (exit_codes.REFUSED, exit_codes.FAILED, exit_codes.DISK_FULL)
RESULT, GROWING = "result.jsonl", "result.jsonl.part"


def carry(copy_id: int) -> None:
    """Carry the copy to its end. Only `shards.start_runner` runs this, in a process that holds the
    copy's lock.
    """
    found = Copy.objects.select_related("shard__job__team").filter(pk=copy_id, ended_at=None)
    copy = persist(found.first)
    if copy is None:
        return
    process = TrainerProcess(placement.folder_of(copy))
    try:
        if process.started() or _start(copy, process):
            _follow(copy, process)
    finally:
        persist(lambda: allocation.release(copy.holder))
        celery_client.wake_jobs()


def _start(copy: Copy, process: TrainerProcess) -> bool:
    """Start the trainer on the copy's device; False if the job cannot be carried out here, which
    ends it with the reason.
    """
    lent = persist(lambda: allocation.held_here(copy.holder))
    try:
        process.start(
            prepare(copy, process.folder, process.folder / RESULT), allocation.exported(lent)
        )
    except Unresolved as error:
        reason = str(error)
        persist(lambda: lifecycle.fail(copy, reason, for_good=True))
        return False
    return True


def _follow(copy: Copy, process: TrainerProcess) -> None:
    """Until the trainer has ended, or nobody wants its answer any more."""
    beaten = 0.0
    while not process.ended():
        if time.monotonic() - beaten >= min(host.HEARTBEAT_SECONDS, host.LEASE_SECONDS / 4):
            beaten = time.monotonic()
            if not persist(lambda: lifecycle.beat(copy, _lines(process.folder / GROWING))):
                _kill(process)
                persist(lambda: _give_up(copy))
                return
        time.sleep(POLL_SECONDS)
    _conclude(copy, process)


def _kill(process: TrainerProcess) -> None:
    """The device is free only once the trainer is gone."""
    process.kill()
    while process.pid() is not None:
        time.sleep(POLL_SECONDS)


def _give_up(copy: Copy) -> None:
    done = Shard.objects.filter(pk=copy.shard_id).exclude(result=None).exists()
    lifecycle.end_copy(copy, Outcome.LATE if done else Outcome.STOPPED)


def _conclude(copy: Copy, process: TrainerProcess) -> None:
    ended = process.exit()
    code = ended["code"] if ended else None
    if code == exit_codes.COMPLETED:
        persist(lambda: hand_in(copy, process.folder / RESULT))
        return
    reason = _reason(ended, process.output())
    persist(lambda: lifecycle.fail(copy, reason, for_good=code == exit_codes.REFUSED))


def _reason(ended: dict[str, Any] | None, output: str) -> str:
    """The trainer's own last sentence, or what became of it."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    if said and ended and ended["code"] in SPEAKING:
        return said[-1]
    return exit_text.explain(ended, None, output, stop_requested=False).reason


def hand_in(copy: Copy, result: Path) -> bool:
    """Store the answer and complete the part with it; False if another copy was quicker. Safe to
    repeat.
    """
    with result.open(encoding="utf-8") as file:
        counts = tally(map(json.loads, file)).to_json()
    stored: Artifact = artifacts.put(result, copy.shard.job.team, "application/jsonl")
    won = lifecycle.complete(copy, stored, counts)
    placement.close(copy.shard.job_id)
    return won


def _lines(path: Path) -> int:
    """Problems that the trainer has answered so far."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0

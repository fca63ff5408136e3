"""Start, watch and stop the ranks of a run on one machine, and record one end for all of them.

Each rank is `python -m trainer …` with its rank in the environment, as torchrun would start it
(torchrun may be used instead of this module). Ranks ignore signals. A line on their standard input
asks them to stop, so that all stop after the same step; its end tells them that this process is
gone. If a rank dies, the others are stopped, because they would wait for it forever. If memory runs
out, all ranks start again from the last checkpoint with half as large micro-batches.

With several machines, each starts and watches its own ranks. All ranks meet at a port of machine 0,
which alone writes the log. A stop request on one machine reaches all, after the same step. If a
machine is lost, the ranks of the others get no answer and end too; the run then resumes from its
last checkpoint in a new attempt. The same holds if memory runs out there.

This module watches while the ranks import torch. It imports torch itself only to count the GPUs of
a run that demands them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from trainer.engine.distributed.ranks import MachineRank, ProcessRank, rank_variables
from trainer.engine.outcome import Failure, RunExit
from trainer.events import EventLog
from trainer.exit_codes import ExitCode

# How long the others may take to end by themselves after one failed: those that lose their peer
# write why, and one that failed for a reason of its own is not cut off before it has said so.
GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SignalHandler = Callable[[int, FrameType | None], None] | signal.Handlers
SINGLE_MACHINE = MachineRank()
PEER_LOST_REASON = (
    "A process of the run on another machine does not answer any more, so this attempt has ended."
)
RESUME = "Resume from the last checkpoint"
# Allowed even on one core, to try out several processes.
MIN_CPU_PROCESSES = 2
TRAINER = (sys.executable, "-m", "trainer")


def run_processes(
    command: Sequence[str],
    resume_command: Sequence[str],
    run_dir: Path,
    attempt: int,
    count: int,
    device: str,
    machines: MachineRank = SINGLE_MACHINE,
) -> int:
    """Run `command` in `count` processes as one attempt of a run; return the exit code.

    `resume_command` resumes from the last checkpoint after memory ran out. Nothing is started if
    this machine has no room for so many processes on `device` (as in `compute.device`). The leading
    machine writes the `end` event.
    """
    scale = 1.0
    run_exit = _refusal(count, device) or _run(command, count, scale, machines)
    # One machine alone cannot start the ranks of the others again; there the attempt ends.
    while run_exit.retry and machines.count == 1:
        scale /= 2
        run_exit = _run(resume_command, count, scale, machines)
    if machines.is_leader:
        # Opened only now, when the leading rank no longer writes: two writers would use the same
        # sequence numbers.
        log = EventLog(run_dir / "attempts" / str(attempt) / "events", attempt)
        log.emit("end", **run_exit.fields())
        log.close()
    print(run_exit, file=sys.stderr)
    return run_exit.code


def _refusal(count: int, device: str) -> RunExit | None:
    limit, unit = max(MIN_CPU_PROCESSES, os.cpu_count() or 1), "CPU core"
    # With `auto` the ranks themselves check whether there are enough GPUs: counting them takes the
    # import of torch, seconds in which this process could not yet watch.
    if device == "cuda":
        from torch.cuda import device_count

        limit, unit = device_count(), "GPU"
    if count <= limit:
        return None
    reason = (
        f"compute.processes is {count:,}, but this machine has room for at most {limit}: "
        f"one for each {unit}."
    )
    remedy = "Lower compute.processes" + (
        ", or set compute.device to cpu." if device == "cuda" else "."
    )
    return RunExit(ExitCode.REFUSED, "failed", reason, remedy)


def _run(command: Sequence[str], count: int, scale: float, machines: MachineRank) -> RunExit:
    first, size = machines.number * count, machines.count * count
    with TemporaryDirectory(prefix="ranks-") as folder:
        ranks = [
            ProcessRank(first + local, size, local, Path(folder), machines.meeting)
            for local in range(count)
        ]
        try:
            processes = RankProcesses(command, ranks, scale)
        except Failure as failure:
            return RunExit(failure.code, "failed", failure.reason, failure.remedy)

        # SIGTERM and the first SIGINT are stop requests; a second SIGINT kills the ranks.
        def ask(number: int, frame: FrameType | None) -> None:
            processes.ask_to_stop()
            signal.signal(signal.SIGINT, lambda *_: processes.kill())

        with _handled_signals(ask):
            processes.watch()
        return processes.run_exit()


class RankProcesses:
    """The processes of this machine's ranks.

    Raises Failure if not all can be started; none is left running then.
    """

    def __init__(self, command: Sequence[str], ranks: Sequence[ProcessRank], scale: float) -> None:
        self._ranks = ranks
        self._failed_first: list[int] = []  # indices of the ranks that failed before all others
        self._failed_unkilled: list[int] = []  # those that failed before this process killed any
        self._children: list[subprocess.Popen[bytes]] = []
        # Ignored signals are inherited: the ranks ignore them from their first moment. A Ctrl-C in
        # a terminal reaches the whole process group.
        with _handled_signals(signal.SIG_IGN):
            try:
                for rank in ranks:
                    variables = os.environ | rank_variables(rank, scale)
                    child = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE)
                    self._children.append(child)
            except OSError as error:
                self.kill()
                for child in self._children:
                    child.wait()
                cause = (error.strerror or str(error)).lower()
                raise Failure(
                    f"Process {len(self._children) + 1} of {len(ranks)} could not be started: "
                    f"{cause}.",
                    "Lower compute.processes, or free memory and processes on this machine, and "
                    "resume the run.",
                ) from error

    def watch(self) -> None:
        """Return when all have ended; once one has failed, kill the others after GRACE_SECONDS."""
        deadline = float("inf")
        while any(child.poll() is None for child in self._children):
            if not self._failed_first and (failed := self._failed()):
                self._failed_first, deadline = failed, time.monotonic() + GRACE_SECONDS
            # What fails after the kill fails because of it, so those before are noted first.
            if time.monotonic() > deadline:
                self._failed_unkilled = self._failed_unkilled or self._failed()
                self.kill()
            time.sleep(POLL_SECONDS)
        self._failed_unkilled = self._failed_unkilled or self._failed()

    def ask_to_stop(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            # A child that has ended has closed its end of the pipe.
            with suppress(OSError):
                child.stdin.write(b"stop\n")
                child.stdin.flush()

    def kill(self) -> None:
        for child in self._children:
            child.kill()

    def run_exit(self) -> RunExit:
        """Return how the run ended: as its leading rank says, or why another one failed.

        Of the failed ranks, one that knows its own reason comes first, then one that died without
        a record, then one that only lost a peer.
        """
        exits = [_recorded_exit(rank) for rank in self._ranks]
        if exits[0] is not None and not exits[0].peer_lost:
            return exits[0]
        failed = self._failed()
        explained = [
            index
            for index, run_exit in enumerate(exits)
            if run_exit is not None and not run_exit.peer_lost and index in failed
        ]
        first = self._failed_first or failed
        unrecorded = [index for index in [*first, *self._failed_unkilled] if exits[index] is None]
        index = [*explained, *unrecorded, *first][0]
        rank, run_exit = self._ranks[index], exits[index]
        if run_exit is None:
            return _exit_without_record(rank, self._children[index].returncode)
        if run_exit.peer_lost and rank.address:
            # No rank of this machine caused it; the server restarts an attempt that ends with this
            # code.
            return RunExit(ExitCode.PEER_LOST, "failed", PEER_LOST_REASON, f"{RESUME}.")
        reason = f"Process {rank.rank + 1} of {rank.size}: {run_exit.reason}"
        return replace(run_exit, reason=reason)

    def _failed(self) -> list[int]:
        """Return the indices, on this machine, of the processes that have failed so far."""
        return [
            index
            for index, child in enumerate(self._children)
            if child.poll() not in (None, ExitCode.COMPLETED, ExitCode.STOPPED)
        ]


@contextmanager
def _handled_signals(handler: SignalHandler) -> Iterator[None]:
    """Handle the stop signals by `handler` inside the context."""
    handlers = {name: signal.signal(name, handler) for name in SIGNALS}
    try:
        yield
    finally:
        for name, previous in handlers.items():
            signal.signal(name, previous)


def _recorded_exit(rank: ProcessRank) -> RunExit | None:
    """Return what the rank recorded of its end; None if it was killed before that."""
    assert rank.exit_file is not None
    try:
        return RunExit(**json.loads(rank.exit_file.read_text()))
    except (OSError, ValueError):
        return None


def _exit_without_record(rank: ProcessRank, code: int) -> RunExit:
    cause = (
        f"was killed by signal {-code} ({signal.Signals(-code).name})"
        if code < 0
        else f"ended with code {code}"
    )
    reason = f"Process {rank.rank + 1} of {rank.size} {cause}, and the others were stopped."
    remedy = f"{RESUME}; if the system's memory ran out, lower compute.micro_batch_tokens first."
    return RunExit(
        ExitCode.PROCESS_DIED if rank.address else ExitCode.FAILED, "failed", reason, remedy
    )

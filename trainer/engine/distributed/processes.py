"""A run in several processes of one machine, or of several: started together, told to stop
together, and ended in one sentence.

Each rank is `python -m trainer …` with its place in the environment, as torchrun would start it
(and may, instead of this). Ranks ignore signals; they are told to stop by a line on their standard
input, so that all leave after the same step, and its end tells them that this process is gone. A
rank that dies takes the others down, because they would wait for it forever. Where memory ran out,
all begin again from the last checkpoint with half as large micro-batches.

On several machines each one starts and watches its own ranks; all meet at a port of machine 0,
which alone writes the log. A stop that one machine hears of reaches all, after the same step. Where
a machine is gone, the others' ranks hear no answer and end too, and the run goes on from its last
checkpoint in an attempt of its own; so does one whose memory ran out.

This module watches while the ranks load their torch; it asks its own only to count the GPUs of a
run that demands them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from trainer.engine.distributed.ranks import MachineRank, ProcessRank, rank_variables
from trainer.engine.outcome import Failure, RunExit
from trainer.events import EventLog
from trainer.exit_codes import COMPLETED, FAILED, PEER_LOST, PROCESS_DIED, REFUSED, STOPPED

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.05
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SINGLE_MACHINE = MachineRank()
GONE = (
    "A process of the run on another machine does not answer any more, so this attempt has ended."
)
ALWAYS_ALLOWED = 2  # processes, even of one core


TRAINER = (sys.executable, "-m", "trainer")


def run_processes(
    command: Sequence[str],
    again: Sequence[str],
    run_dir: Path,
    attempt: int,
    count: int,
    device: str,
    machines: MachineRank = SINGLE_MACHINE,
) -> int:
    """Run a command in `count` processes here, as that attempt at the run in `run_dir`; return its
    exit code.

    `again` is the command that goes on from the last checkpoint. Nothing is started where this
    machine has no room for so many on `device`, as in `compute.device`. Of several machines the
    leading one writes the end into the log.
    """
    scale = 1.0
    ending = _refusal(count, device) or _run(command, count, scale, machines)
    while ending.again and machines.count == 1:
        scale /= 2
        ending = _run(again, count, scale, machines)
    if not machines.is_leader:
        print(ending, file=sys.stderr)
        return ending.code
    log = EventLog(run_dir / "attempts" / str(attempt) / "events", attempt)
    log.emit("end", **ending.fields())
    log.close()
    print(ending, file=sys.stderr)
    return ending.code


def _refusal(count: int, device: str) -> RunExit | None:
    most, each = _room(device)
    if count <= most:
        return None
    reason = f"compute.processes is {count:,}, but this machine has room for at most {most}: one for each {each}."
    remedy = "Lower compute.processes" + (
        ", or set compute.device to cpu." if device == "cuda" else "."
    )
    return RunExit(REFUSED, "failed", reason, remedy)


def _room(device: str) -> tuple[int, str]:
    """How many processes there is room for, and what each one needs. For `auto` the ranks look
    whether the GPUs suffice.
    """
    if device == "cuda":
        from torch.cuda import device_count

        return device_count(), "GPU"
    return max(ALWAYS_ALLOWED, os.cpu_count() or 1), "CPU core"


def _run(command: Sequence[str], count: int, scale: float, machines: MachineRank) -> RunExit:
    first, size = machines.number * count, machines.count * count
    with TemporaryDirectory(prefix="ranks-") as folder:
        places = [
            ProcessRank(first + local, size, local, Path(folder), machines.meeting)
            for local in range(count)
        ]
        try:
            ranks = Ranks(command, places, scale)
        except Failure as failure:
            return RunExit(failure.code, "failed", failure.reason, failure.remedy)
        with _listening(ranks):
            ranks.watch()
        return ranks.ending()


class Ranks:
    """Processes that live and die together. Raises Failure, and leaves none behind, if they cannot
    all be started.
    """

    def __init__(self, command: Sequence[str], places: Sequence[ProcessRank], scale: float) -> None:
        self._places = places
        self._broke_first: list[int] = []
        self._broke_unforced: list[int] = []
        before = {
            name: signal.signal(name, signal.SIG_IGN) for name in SIGNALS
        }  # inherited: the ranks ignore these from the first moment
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            for place in places:
                self._children.append(_started(command, place, scale))
        except OSError as error:
            self.kill()
            for child in self._children:
                child.wait()
            reason = f"Process {len(self._children) + 1} of {len(places)} could not be started: {(error.strerror or str(error)).lower()}."
            raise Failure(
                reason,
                "Lower compute.processes, or free memory and processes on this machine, and resume the run.",
            ) from error
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def watch(self) -> None:
        """Return when all have ended. Once one has failed, the others get some seconds to end by
        themselves.
        """
        deadline = float("inf")
        while any(child.poll() is None for child in self._children):
            if not self._broke_first and (broken := self._broken()):
                self._broke_first, deadline = broken, time.monotonic() + GRACE_SECONDS
            if time.monotonic() > deadline:
                self._broke_unforced = self._broke_unforced or self._broken()
                self.kill()
            time.sleep(LOOK_SECONDS)
        self._broke_unforced = self._broke_unforced or self._broken()

    def ask_to_stop(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            try:
                child.stdin.write(b"stop\n")
                child.stdin.flush()
            except OSError:
                continue  # it has ended

    def kill(self) -> None:
        for child in self._children:
            child.kill()

    def ending(self) -> RunExit:
        """How the run ended: as its leading rank says, or for the reason for which another one
        broke off.
        """
        told = [_told(place) for place in self._places]
        if told[0] is not None and not told[0].lost:
            return told[0]
        first = self._broke_first or self._broken()
        knows = [
            at
            for at, ending in enumerate(told)
            if ending is not None and not ending.lost and at in self._broken()
        ]
        silent = [at for at in [*first, *self._broke_unforced] if told[at] is None]
        place = self._places[[*knows, *silent, *first][0]]
        ending = told[place.local_rank]
        if ending is None:
            return _without_a_word(place, self._children[place.local_rank].returncode)
        if ending.lost and place.port:
            return RunExit(PEER_LOST, "failed", GONE, "Resume to go on from the last checkpoint.")
        return replace(ending, reason=f"Process {place.rank + 1} of {place.size}: {ending.reason}")

    def _broken(self) -> list[int]:
        """Of this machine, by their places on it."""
        return [
            at
            for at, child in enumerate(self._children)
            if child.poll() not in (None, COMPLETED, STOPPED)
        ]


@contextmanager
def _listening(ranks: Ranks) -> Iterator[None]:
    """SIGTERM or SIGINT, however often the first, asks the ranks for a checkpoint and to leave; a
    SIGINT after that kills them.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        ranks.ask_to_stop()
        signal.signal(signal.SIGINT, lambda *_: ranks.kill())

    before = {each: signal.signal(each, ask) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _started(command: Sequence[str], place: ProcessRank, scale: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=os.environ | rank_variables(place, scale), stdin=subprocess.PIPE
    )


def _told(place: ProcessRank) -> RunExit | None:
    """What the rank said of its end; None if it was killed before it could."""
    assert place.ending is not None
    try:
        return RunExit(**json.loads(place.ending.read_text()))
    except (OSError, ValueError):
        return None


def _without_a_word(place: ProcessRank, code: int) -> RunExit:
    how = (
        f"was killed by signal {-code} ({signal.Signals(-code).name})"
        if code < 0
        else f"ended with code {code}"
    )
    reason = f"Process {place.rank + 1} of {place.size} {how}, and the others were stopped."
    remedy = "Resume to go on from the last checkpoint; if the system's memory ran out, lower compute.micro_batch_tokens first."
    return RunExit(PROCESS_DIED if place.port else FAILED, "failed", reason, remedy)

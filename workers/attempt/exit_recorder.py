"""The parent of one trainer process: it records how the trainer exited.

    python -m workers.attempt.exit_recorder ATTEMPT_FOLDER COMMAND [ARG ...]

Only a parent learns the exit status, and supervisors may die before the trainer. The recorder uses
the standard library only, so that it needs little memory and cannot fail on an import. It writes
three files into the attempt's folder: `process.json` (pids and start times), `stdout.log` (what the
trainer prints) and, last and atomically, `exit.json`. An attempt has one trainer: a second
recorder, started before `process.json` was there, waits for the first one's end and exits.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from workers.attempt import out_of_memory
from workers.attempt.out_of_memory import KillCounts
from workers.process_identity import identity, process_started

# Between two counts of the kernel's kills for memory. The exit of a process with much memory takes
# seconds after its kill, so that its end is compared with the count of a minute before.
COUNT_SECONDS = 5.0
COUNTS_KEPT = 12


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by JSON, so that a reader sees the old file or the new one, never a part."""
    scratch = path.with_suffix(".part")
    with scratch.open("w") as file:
        json.dump(content, file)
        # Synced before the rename: after a power failure the new name could have an empty file.
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


def run_once(folder: Path, command: list[str]) -> int:
    """Run the trainer and record its exit, unless another exit recorder has done so."""
    with (folder / "shim.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if (folder / "process.json").exists() else run_trainer(folder, command)


def run_trainer(folder: Path, command: list[str]) -> int:
    started_at = time.time()
    with (folder / "stdout.log").open("ab", buffering=0) as output:
        # A process group of its own, so that a kill reaches all that the trainer has started.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
    # A supervisor may be the one that signals the recorder; the trainer must then save and stop.
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    write_report(
        folder / "process.json", {"trainer": identity(child.pid), "shim": identity(os.getpid())}
    )
    kill_counts = count_kills_until_exit(child.pid)
    # wait4 and not Popen.wait, because it also returns memory and CPU time of this one child.
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    report = {
        "pid": child.pid,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "started_at": started_at,
        "finished_at": time.time(),
        # Linux counts in KiB.
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        # None if it is unknown, which matters for a process that was killed.
        "out_of_memory": code == -signal.SIGKILL and out_of_memory.was_killed(kill_counts),
    }
    write_report(folder / "exit.json", report)
    return 0


def count_kills_until_exit(pid: int) -> KillCounts:
    """Wait until the process has exited and return the kernel's counts of a minute before."""
    counts = deque([out_of_memory.read(pid)], maxlen=COUNTS_KEPT)
    # Blocked, so that the end of the child is not missed between the check and the wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if signal.sigtimedwait([signal.SIGCHLD], COUNT_SECONDS) is not None:
            continue
        count = out_of_memory.read(pid)
        # The trainer may have moved itself to another group, whose count starts elsewhere.
        if count.file != counts[-1].file and process_started(pid) is not None:
            counts.clear()
        counts.append(count)
    return counts[0]


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Retry while the disk is full: without this file nobody learns how the trainer exited."""
    while True:
        try:
            return write_atomically(path, report)
        except OSError:
            time.sleep(1)


if __name__ == "__main__":
    # Ctrl-C and a closed terminal must not end the exit recorder before its trainer.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(run_once(Path(sys.argv[1]), sys.argv[2:]))
